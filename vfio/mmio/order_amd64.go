package mmio

// On amd64 stores to ordinary and to uncached memory stay in program order, and
// so do loads: nothing to do. (Write-combining mappings, which would need an
// SFENCE, are never made by this project.)

func beforeStore() {}

func afterLoad() {}
