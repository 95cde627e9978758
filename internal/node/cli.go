package node

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"
)

// program is the name of the binary; the prefix of its environment variables is made from it.
const program = "chorus"

var envPrefix = strings.ToUpper(program) + "_"

// Exit codes of the program.
const (
	exitOK      = 0
	exitFailure = 1 // something failed at run time
	exitUsage   = 2 // the command line or the environment cannot work
)

// commands is the command line.
type commands struct {
	File string `name:"config" placeholder:"FILE" help:"YAML file of settings, whose keys are the flags: redis: {publish_queue: 100} is --redis.publish-queue=100."`

	Serve       serveCommand       `cmd:"" default:"withargs" set:"log_format=json" help:"Run one node (the default)."`
	Emit        emitCommand        `cmd:"" help:"Publish one event to the clients of a cluster."`
	Drain       drainCommand       `cmd:"" help:"Ask a running node to hand its clients over to the other nodes, and to end."`
	Demo        demoCommand        `cmd:"" set:"log_format=text" help:"Run a cluster of three nodes in this process, with an embedded Redis and a front that spreads clients over the nodes."`
	Config      configCommands     `cmd:"" set:"log_format=json" help:"Check, print or explain the settings of a node."`
	Doctor      doctorCommand      `cmd:"" set:"log_format=json" help:"Check what a node needs of this machine and of Redis."`
	Healthcheck healthcheckCommand `cmd:"" help:"Ask a running node whether it is well."`
	Version     versionCommand     `cmd:"" help:"Print the version."`
}

// BeforeResolve is called by kong once the command line and the environment are known.
func (*commands) BeforeResolve(ctx *kong.Context, s *sources) error {
	for _, flag := range ctx.Model.Flags {
		if flag.Name == "config" {
			s.readFile(ctx.FlagValue(flag).(string), ctx.Model)
		}
	}
	return nil
}

// process is what a command has of the process it runs in.
type process struct {
	args           []string
	signals        <-chan os.Signal
	stdout, stderr io.Writer
	loaded         *loaded
}

// usageError is what is wrong with the command line, the environment or the configuration file.
type usageError struct{ error }

// Main runs the program and returns its exit code: 0 good, 1 failure at run time, 2 bad usage. The first signal
// ends it in good order, the second at once.
func Main(args []string, signals <-chan os.Signal, stdout, stderr io.Writer) int {
	p := &process{args: args, signals: signals, stdout: stdout, stderr: stderr}
	err := p.run()
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errTold):
		return exitFailure
	}
	fmt.Fprintf(stderr, "%s: %v\n", program, err)
	if _, ok := errors.AsType[usageError](err); ok {
		fmt.Fprintf(stderr, "%s --help shows what there is\n", program)
		return exitUsage
	}
	return exitFailure
}

// errTold ends a command that has printed already what is wrong.
var errTold = errors.New("failed")

func (p *process) run() error {
	l, err := load(p.args, p.stdout, p.stderr)
	if err != nil {
		return usageError{err}
	}
	if l.context == nil { // help was printed
		return nil
	}
	p.loaded = l
	if _, tells := reflect.TypeAssert[tellsProblems](l.context.Selected().Target.Addr()); len(l.problems) > 0 && !tells {
		return usageError{errors.New(strings.Join(l.problems, "\n"+program+": "))}
	}
	return l.context.Run(p)
}

// tellsProblems marks commands that run although settings cannot work: to say so is their task.
type tellsProblems interface{ tellsProblems() }

// newParser makes the command line; exit is called after help was printed.
func newParser(cli *commands, s *sources, stdout, stderr io.Writer, exit func(int)) (*kong.Kong, error) {
	return kong.New(cli,
		kong.Name(program),
		kong.Description("A node of a horizontally scalable Socket.IO cluster.\n\n"+
			"Every flag is an environment variable too, and a key of the file that --config names: --redis.url is "+envPrefix+"REDIS_URL. "+
			"A flag wins over the variable, the variable over the file.\n"+
			"Durations are written 500ms, 25s, 2m; sizes 64kB, 1MB (10^6), 1MiB (2^20). Lists are divided by commas."),
		kong.DefaultEnvars(program),
		kong.Resolvers(s),
		kong.Bind(s),
		kong.Writers(stdout, stderr),
		kong.Exit(exit),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Help(printHelp),
	)
}

// printHelp prints the help of a command. That of the program shows the flags of the default command too.
func printHelp(options kong.HelpOptions, ctx *kong.Context) error {
	if err := kong.DefaultHelpPrinter(options, ctx); err != nil || ctx.Selected() != nil {
		return err
	}
	serve, err := kong.Trace(ctx.Kong, []string{"serve"})
	if err != nil {
		return err
	}
	fmt.Fprintln(ctx.Stdout)
	return kong.DefaultHelpPrinter(options, serve)
}
