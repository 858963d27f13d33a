package bom

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"runtime"
	"testing"
	"time"
)

// This test is a Go program itself.
func TestOf(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	programs := map[string][]byte{"bin/one": body, "bin/two": body}
	text, err := Of(programs, time.Unix(1700000000, 0))
	if err != nil {
		t.Fatal(err)
	}
	again, err := Of(programs, time.Unix(1700000000, 0))
	if err != nil || !bytes.Equal(text, again) {
		t.Errorf("the same programs give other bytes: %v", err)
	}
	var doc struct {
		BOMFormat, SpecVersion string
		Metadata               struct {
			Timestamp string
			Component struct{ Name string }
		}
		Components []struct {
			Ref        string `json:"bom-ref"`
			Name, Purl string
			Hashes     []struct{ Alg, Content string }
		}
		Dependencies []struct {
			Ref       string
			DependsOn []string
		}
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.BOMFormat != "CycloneDX" || doc.SpecVersion != "1.5" || doc.Metadata.Timestamp != "2023-11-14T22:13:20Z" || doc.Metadata.Component.Name != "vvufwd" {
		t.Errorf("%+v", doc.Metadata)
	}
	refs := map[string]bool{doc.Dependencies[2].Ref: true} // the whole, which is no component of itself
	sum := sha256.Sum256(body)
	hashed, std := 0, false
	for _, c := range doc.Components {
		if refs[c.Ref] {
			t.Errorf("%s is there twice", c.Ref)
		}
		refs[c.Ref] = true
		std = std || c.Purl == "pkg:golang/std@"+runtime.Version()
		if len(c.Hashes) == 1 && c.Hashes[0].Alg == "SHA-256" && c.Hashes[0].Content == hex.EncodeToString(sum[:]) {
			hashed++
		}
	}
	if hashed != 2 || !std {
		t.Errorf("%d programs have their hash; std: %v, in\n%s", hashed, std, text)
	}
	for _, d := range doc.Dependencies {
		for _, ref := range append(d.DependsOn, d.Ref) {
			if !refs[ref] {
				t.Errorf("%s is no component", ref)
			}
		}
	}
	if got := purl("a/b", "v1.0.0+dirty"); got != "pkg:golang/a/b@v1.0.0%2Bdirty" {
		t.Error(got)
	}
	if _, err := Of(map[string][]byte{"x": []byte("no program")}, time.Time{}); err == nil {
		t.Error("what is no program has a bill of materials")
	}
	if _, err := Of(nil, time.Time{}); err == nil {
		t.Error("nothing has a bill of materials")
	}
}
