//go:build !unix

package forward

import "errors"

// rawIO says that descriptors cannot be read and written without waiting.
const rawIO = false

func sysRead(uintptr, []byte) (int, bool, error) { return 0, false, errors.ErrUnsupported }

func sysWrite(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
