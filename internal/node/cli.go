package node

import (
	"fmt"
	"io"
	"os"
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
	Serve   serveCommand   `cmd:"" default:"withargs" set:"log_format=json" help:"Run one node (the default)."`
	Emit    emitCommand    `cmd:"" help:"Publish one event to the clients of a cluster."`
	Demo    demoCommand    `cmd:"" set:"log_format=text" help:"Run a cluster of three nodes in this process, with an embedded Redis and a front that spreads clients over the nodes."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

// process is what a command has of the process it runs in.
type process struct {
	signals        <-chan os.Signal
	stdout, stderr io.Writer
	unknown        []string // environment variables that no flag reads
}

// Main runs the program and returns its exit code: 0 good, 1 failure at run time, 2 bad usage. The first signal
// ends it in good order, the second at once.
func Main(args []string, signals <-chan os.Signal, stdout, stderr io.Writer) int {
	var cli commands
	helped := false
	parser, err := newParser(&cli, stdout, stderr, func(int) { helped = true })
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", program, err)
		return exitFailure
	}
	ctx, err := parser.Parse(args)
	if helped {
		return exitOK
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n%s --help shows what there is\n", program, err, program)
		return exitUsage
	}
	p := &process{signals: signals, stdout: stdout, stderr: stderr, unknown: unknownVariables(parser.Model, os.Environ())}
	if err := ctx.Run(p); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", program, err)
		return exitFailure
	}
	return exitOK
}

// newParser makes the command line; exit is called after help was printed.
func newParser(cli *commands, stdout, stderr io.Writer, exit func(int)) (*kong.Kong, error) {
	return kong.New(cli,
		kong.Name(program),
		kong.Description("A node of a horizontally scalable Socket.IO cluster.\n\n"+
			"Every flag is an environment variable too: --redis.url is "+envPrefix+"REDIS_URL. A flag wins over the variable.\n"+
			"Durations are written 500ms, 25s, 2m; sizes 64kB, 1MB (10^6), 1MiB (2^20). Lists are divided by commas."),
		kong.DefaultEnvars(program),
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

// unknownVariables returns the variables with our prefix that no flag reads. They are no error, because
// Kubernetes makes such ones for each service.
func unknownVariables(app *kong.Application, environ []string) []string {
	known := make(map[string]bool)
	_ = kong.Visit(app, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok {
			for _, env := range flag.Envs {
				known[env] = true
			}
		}
		return next(nil)
	})
	var unknown []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, envPrefix) && !known[name] {
			unknown = append(unknown, name)
		}
	}
	return unknown
}
