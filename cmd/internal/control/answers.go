package control

// Port is one of a program's, as "ports" tells.
type Port struct {
	Name     string `json:"name"`              // as statistics and logs name it
	Flag     string `json:"flag"`              // as it is on the command line
	Kind     string `json:"kind"`              // guest, nic or interface
	With     string `json:"with"`              // the other one of its pair, or "switch"
	Pairs    int    `json:"pairs"`             // queue pairs that it could have
	Used     int    `json:"used"`              // of these, those that frames come from or go to now
	Address  string `json:"address,omitempty"` // the only source address that it may use
	Isolated bool   `json:"isolated,omitempty"`
	Uplink   bool   `json:"uplink,omitempty"` // it leads to a network
}

// Link is that of a port, as "links" tells.
type Link struct {
	Name    string  `json:"name"`
	Kind    string  `json:"kind"`
	Up      bool    `json:"up"`                // of a guest: its driver runs at least one ring
	Why     string  `json:"why,omitempty"`     // it is not
	Returns *uint64 `json:"returns,omitempty"` // of an interface: how often it was gone and came back; of a NIC: how often it was restarted
}

// Bridge is what "switch" tells.
type Bridge struct {
	Ports   []Port `json:"ports"`
	Learned int    `json:"learned"` // addresses now
	Static  int    `json:"static"`
	Moves   uint64 `json:"moves"`
	Refused uint64 `json:"refused"`
	Floods  uint64 `json:"floods"`
}

// Capture is one of a program's, as "capture" tells.
type Capture struct {
	Port    string `json:"port"`
	File    string `json:"file"` // or where it is read live
	On      bool   `json:"on"`
	Reader  *bool  `json:"reader,omitempty"` // of a live one: someone reads
	Ended   string `json:"ended,omitempty"`  // why nothing more is written
	SnapLen int    `json:"snaplen"`
	Filter  string `json:"filter,omitempty"`
	Frames  uint64 `json:"frames"` // looked at
	Missed  uint64 `json:"missed"`
}

// Level is that of the log, as "log-level" tells.
type Level struct {
	Level string `json:"level"`
}
