package virtiopci

// Registers of the common configuration structure (4.1.4.3).
const (
	commonDeviceFeatureSelect = 0x00 // u32, RW
	commonDeviceFeature       = 0x04 // u32, RO
	commonDriverFeatureSelect = 0x08 // u32, RW
	commonDriverFeature       = 0x0c // u32, RW
	commonConfigVector        = 0x10 // u16, RW
	commonNumQueues           = 0x12 // u16, RO
	commonStatus              = 0x14 // u8, RW
	commonGeneration          = 0x15 // u8, RO
	commonQueueSelect         = 0x16 // u16, RW
	commonQueueSize           = 0x18 // u16, RW
	commonQueueVector         = 0x1a // u16, RW
	commonQueueEnable         = 0x1c // u16, RW
	commonQueueNotifyOff      = 0x1e // u16, RO
	commonQueueDesc           = 0x20 // u64, RW
	commonQueueDriver         = 0x28 // u64, RW: available ring
	commonQueueDevice         = 0x30 // u64, RW: used ring
	commonSize                = 0x38
)
