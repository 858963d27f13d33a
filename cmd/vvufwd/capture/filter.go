package capture

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Filter is an expression in a part of the language of pcap-filter(7): protocols (arp, ip, ip6, tcp, udp, icmp, icmp6, vlan
// [ID]), and [src|dst] host ADDRESS, net PREFIX, port NUMBER, ether host MAC, joined by and, or, not and parentheses.
type Filter struct {
	text  string
	match func(*frame) bool
}

// String is the expression.
func (f *Filter) String() string {
	if f == nil {
		return ""
	}
	return f.text
}

// Match reports whether a frame, of which there is the beginning, passes. All frames pass none.
func (f *Filter) Match(data []byte) bool {
	if f == nil {
		return true
	}
	p := dissect(data)
	return f.match(&p)
}

// ParseFilter reads an expression. A "+" in it is a blank: what starts a machine parts its kernel's command line at those.
func ParseFilter(text string) (*Filter, error) {
	text = strings.ReplaceAll(text, "+", " ")
	p := &parser{words: strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ", "!", " not ", "&&", " and ", "||", " or ").Replace(text))}
	match, err := p.or()
	if err == nil && len(p.words) > 0 {
		err = fmt.Errorf("%q is too much", p.words[0])
	}
	if err != nil {
		return nil, fmt.Errorf("filter=%s: %w", text, err)
	}
	return &Filter{text, match}, nil
}

// maxDepth is how deep parentheses and "not" may nest.
const maxDepth = 50

// parser reads an expression by recursive descent. "and" binds tighter than "or" here, as in most languages; pcap-filter has them
// alike, so that parentheses are a good idea.
type parser struct {
	words []string
	depth int
}

var errEnds = errors.New("the expression ends too early")

func (p *parser) peek() string {
	if len(p.words) == 0 {
		return ""
	}
	return p.words[0]
}

func (p *parser) next() (string, error) {
	if len(p.words) == 0 {
		return "", errEnds
	}
	w := p.words[0]
	p.words = p.words[1:]
	return w, nil
}

func (p *parser) or() (func(*frame) bool, error) {
	return p.joined("or", p.and, func(a, b bool) bool { return a || b })
}
func (p *parser) and() (func(*frame) bool, error) {
	return p.joined("and", p.unary, func(a, b bool) bool { return a && b })
}

// joined reads operands that a word joins.
func (p *parser) joined(word string, operand func() (func(*frame) bool, error), join func(a, b bool) bool) (func(*frame) bool, error) {
	all, err := operand()
	for err == nil && p.peek() == word {
		p.words = p.words[1:]
		left := all
		var right func(*frame) bool
		right, err = operand()
		all = func(f *frame) bool { return join(left(f), right(f)) }
	}
	return all, err
}

func (p *parser) unary() (func(*frame) bool, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, fmt.Errorf("more than %d levels", maxDepth)
	}
	defer func() { p.depth-- }()
	switch p.peek() {
	case "not":
		p.words = p.words[1:]
		m, err := p.unary()
		return func(f *frame) bool { return !m(f) }, err
	case "(":
		p.words = p.words[1:]
		m, err := p.or()
		if err != nil {
			return nil, err
		}
		if w, err := p.next(); err != nil || w != ")" {
			return nil, errors.New("a parenthesis is not closed")
		}
		return m, nil
	}
	return p.primitive()
}

// etherTypes and protocols are the names of protocols.
var (
	etherTypes = map[string]uint16{"arp": 0x0806, "ip": 0x0800, "ip6": 0x86dd}
	protocols  = map[string]uint8{"tcp": 6, "udp": 17, "icmp": 1, "icmp6": 58}
)

func (p *parser) primitive() (func(*frame) bool, error) {
	word, err := p.next()
	if err != nil {
		return nil, err
	}
	if kind, ok := etherTypes[word]; ok {
		return func(f *frame) bool { return f.etherType == kind }, nil
	}
	if protocol, ok := protocols[word]; ok {
		if w := p.peek(); w == "port" || w == "src" || w == "dst" { // "tcp port 80"
			m, err := p.primitive()
			return func(f *frame) bool { return f.protocol == int(protocol) && m(f) }, err
		}
		return func(f *frame) bool { return f.protocol == int(protocol) }, nil
	}
	if word == "vlan" {
		id, err := strconv.ParseUint(p.peek(), 10, 12)
		if errors.Is(err, strconv.ErrRange) {
			return nil, fmt.Errorf("vlan %s: want an ID of 0 to 4095", p.peek())
		}
		if err != nil {
			return func(f *frame) bool { return f.tagged }, nil
		}
		p.words = p.words[1:]
		return func(f *frame) bool { return f.tagged && f.vlan == uint16(id) }, nil
	}
	ends := []int{0, 1} // source, destination
	if word == "ether" {
		if word, err = p.next(); err != nil {
			return nil, err
		}
		return p.ether(word, ends)
	}
	if i := slices.Index([]string{"src", "dst"}, word); i >= 0 {
		ends = []int{i}
		if word, err = p.next(); err != nil {
			return nil, err
		}
	}
	return p.address(word, ends)
}

// ether reads what comes after "ether".
func (p *parser) ether(word string, ends []int) (_ func(*frame) bool, err error) {
	if i := slices.Index([]string{"src", "dst"}, word); i >= 0 {
		ends = []int{i}
		if p.peek() == "host" {
			p.words = p.words[1:]
		}
	} else if word != "host" {
		return nil, fmt.Errorf("%q after ether: want host, src or dst, and an address", word)
	}
	text, err := p.next()
	if err != nil {
		return nil, err
	}
	mac, err := net.ParseMAC(text)
	if err != nil || len(mac) != 6 {
		return nil, fmt.Errorf("%q is not an Ethernet address", text)
	}
	want := [6]byte(mac)
	return func(f *frame) bool { return slices.ContainsFunc(ends, func(e int) bool { return f.macs[e] == want }) }, nil
}

// address reads host, net or port and what comes after it.
func (p *parser) address(word string, ends []int) (func(*frame) bool, error) {
	if !slices.Contains([]string{"host", "net", "port"}, word) {
		return nil, fmt.Errorf("%q is not known: there are arp, ip, ip6, tcp, udp, icmp, icmp6, vlan [ID], [src|dst] host, net and port, ether [src|dst] host, and, or, not and parentheses", word)
	}
	text, err := p.next()
	if err != nil {
		return nil, err
	}
	switch word {
	case "port":
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%q is not a port's number", text)
		}
		return func(f *frame) bool {
			return slices.ContainsFunc(ends, func(e int) bool { return f.ports[e] == int(n) })
		}, nil
	case "host":
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("%q is not an IP address; names are not looked up", text)
		}
		return within(netip.PrefixFrom(a, a.BitLen()), ends), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return nil, fmt.Errorf("%q is not a network such as 10.0.0.0/8", text)
	}
	return within(prefix, ends), nil
}

func within(prefix netip.Prefix, ends []int) func(*frame) bool {
	return func(f *frame) bool {
		return slices.ContainsFunc(ends, func(e int) bool { return f.addresses[e].IsValid() && prefix.Contains(f.addresses[e]) })
	}
}
