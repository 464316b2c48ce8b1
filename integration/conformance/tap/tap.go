// Package tap writes the Test Anything Protocol for OCI's validation programs.
//
// They import github.com/mndrix/tap-go, which Debian does not package: this is the part of its
// interface that they use, written anew. fetch.py puts it in the place of that import path.
package tap

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// T counts the points of one program.
type T struct {
	Writer io.Writer
	next   *int
	todo   string
}

func New() *T { return &T{Writer: os.Stdout, next: new(int), todo: "-"} }

// Header starts the output; without a count, AutoPlan writes the plan at the end.
func (t *T) Header(count int) {
	fmt.Fprintln(t.Writer, "TAP version 13")
	if count > 0 {
		fmt.Fprintf(t.Writer, "1..%d\n", count)
	}
}

func (t *T) AutoPlan() { fmt.Fprintf(t.Writer, "1..%d\n", *t.next) }

func (t *T) Ok(passed bool, description string) {
	if passed {
		t.point("ok", description)
	} else {
		t.point("not ok", description)
	}
}

// Todo returns a T whose points are known not to hold: they count as skipped.
func (t *T) Todo() *T { return &T{Writer: t.Writer, next: t.next, todo: "# TODO"} }

func (t *T) Pass(description string) { t.Ok(true, description) }
func (t *T) Fail(description string) { t.Ok(false, description) }

func (t *T) Skip(count int, description string) {
	for ; count > 0; count-- {
		*t.next++
		fmt.Fprintf(t.Writer, "ok %d # SKIP %s\n", *t.next, oneLine(description))
	}
}

func (t *T) Diagnostic(message string) {
	for _, line := range strings.Split(message, "\n") {
		fmt.Fprintf(t.Writer, "# %s\n", line)
	}
}

func (t *T) Diagnosticf(format string, a ...interface{}) { t.Diagnostic(fmt.Sprintf(format, a...)) }

// YAML writes a diagnostic block; JSON is YAML.
func (t *T) YAML(message interface{}) error {
	text, err := json.MarshalIndent(message, "  ", "  ")
	if err == nil {
		fmt.Fprintf(t.Writer, "  ---\n  %s\n  ...\n", text)
	}
	return err
}

func (t *T) point(word, description string) {
	*t.next++
	fmt.Fprintf(t.Writer, "%s %d %s %s\n", word, *t.next, t.todo, oneLine(description))
}

func oneLine(text string) string { return strings.ReplaceAll(text, "\n", " ") }
