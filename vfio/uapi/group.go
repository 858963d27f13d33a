package uapi

import "structs"

// Requests to a group.
const (
	groupGetStatus    = requestBase + 3 // VFIO_GROUP_GET_STATUS, GroupStatus
	groupSetContainer = requestBase + 4 // VFIO_GROUP_SET_CONTAINER, int (fd)
	groupGetDeviceFD  = requestBase + 6 // VFIO_GROUP_GET_DEVICE_FD, char[]
)

// Flags of GroupStatus.
const (
	GroupViable       uint32 = 1 << 0 // VFIO_GROUP_FLAGS_VIABLE
	GroupContainerSet uint32 = 1 << 1 // VFIO_GROUP_FLAGS_CONTAINER_SET
)

// GroupStatus is struct vfio_group_status.
type GroupStatus struct {
	_       structs.HostLayout
	ArgSize uint32
	Flags   uint32
}
