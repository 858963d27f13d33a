package report

import (
	"encoding/json"
	"io"
)

// JSON writes the document as one indented object.
func JSON(out io.Writer, d *Document) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	return encoder.Encode(d)
}
