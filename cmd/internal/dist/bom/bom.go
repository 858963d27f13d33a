// Package bom writes a software bill of materials in CycloneDX's format, from what the go command has recorded in programs.
package bom

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// Of describes programs of one module. Each has its hash, its architecture and the modules that it is made of, the standard
// library among them, with the hashes by which go.sum knows them.
func Of(programs map[string][]byte, when time.Time) ([]byte, error) {
	doc := cdx.NewBOM()
	doc.Metadata = &cdx.Metadata{Timestamp: when.UTC().Format(time.RFC3339)}
	modules := make(map[string]cdx.Component)
	var components []cdx.Component
	var dependencies []cdx.Dependency
	var all []string // of all programs
	for _, name := range slices.Sorted(maps.Keys(programs)) {
		body := programs[name]
		info, err := buildinfo.Read(bytes.NewReader(body))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if doc.Metadata.Component == nil {
			doc.Metadata.Component = &cdx.Component{
				BOMRef: purl(info.Main.Path, info.Main.Version), Type: cdx.ComponentTypeApplication, Name: info.Main.Path, Version: info.Main.Version,
				PackageURL: purl(info.Main.Path, info.Main.Version), Licenses: &cdx.Licenses{{License: &cdx.License{ID: "MIT"}}},
			}
		}
		sum := sha256.Sum256(body)
		program := cdx.Component{
			BOMRef: "program:" + name, Type: cdx.ComponentTypeApplication, Name: filepath.Base(name), Version: info.Main.Version,
			Hashes:     &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}},
			Properties: settings(info),
		}
		components = append(components, program)
		all = append(all, program.BOMRef)
		of := []string{}
		for _, m := range madeOf(info) {
			modules[m.BOMRef] = m
			of = append(of, m.BOMRef)
		}
		slices.Sort(of)
		dependencies = append(dependencies, cdx.Dependency{Ref: program.BOMRef, Dependencies: &of})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("a bill of materials of no programs")
	}
	for _, ref := range slices.Sorted(maps.Keys(modules)) {
		components = append(components, modules[ref])
	}
	dependencies = append(dependencies, cdx.Dependency{Ref: doc.Metadata.Component.BOMRef, Dependencies: &all})
	doc.Components, doc.Dependencies = &components, &dependencies
	var b bytes.Buffer
	err := cdx.NewBOMEncoder(&b, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(doc, cdx.SpecVersion1_5)
	return b.Bytes(), err
}

// madeOf are the modules that a program is made of.
func madeOf(info *buildinfo.BuildInfo) []cdx.Component {
	std := purl("std", info.GoVersion)
	all := []cdx.Component{{BOMRef: std, Type: cdx.ComponentTypeLibrary, Name: "std", Version: info.GoVersion, PackageURL: std}}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		c := cdx.Component{BOMRef: purl(m.Path, m.Version), Type: cdx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, PackageURL: purl(m.Path, m.Version)}
		if m.Sum != "" { // a hash of the hashes of its files, which is none of CycloneDX's kinds
			c.Properties = &[]cdx.Property{{Name: "go:sum", Value: m.Sum}}
		}
		all = append(all, c)
	}
	return all
}

// settings are how a program was built.
func settings(info *buildinfo.BuildInfo) *[]cdx.Property {
	wanted := []string{"GOOS", "GOARCH", "CGO_ENABLED", "-trimpath", "vcs.revision", "vcs.time", "vcs.modified"}
	properties := []cdx.Property{{Name: "go:version", Value: info.GoVersion}}
	for _, s := range info.Settings {
		if slices.Contains(wanted, s.Key) {
			properties = append(properties, cdx.Property{Name: "go:" + s.Key, Value: s.Value})
		}
	}
	return &properties
}

// purl names a module in a package URL.
func purl(path, version string) string {
	if version == "" || version == "(devel)" {
		return "pkg:golang/" + path
	}
	return "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B")
}
