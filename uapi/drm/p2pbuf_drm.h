/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) */
/*
 * The exporter's DRM render node.
 *
 * Objects are GEM objects of two kinds. VRAM objects are allocated from the
 * region, may move between VRAM and system memory, may be evicted, and are
 * zeroed before their memory is used again. Window objects show a fixed range
 * of the BAR: they never move, are never zeroed, can only be revoked, and
 * need CAP_SYS_RAWIO.
 *
 * Objects are shared as dma-bufs with DRM_IOCTL_PRIME_HANDLE_TO_FD and
 * DRM_IOCTL_PRIME_FD_TO_HANDLE, and freed with DRM_IOCTL_GEM_CLOSE.
 *
 * Struct rules: an ioctl number that encodes a shorter struct than the first
 * version is EINVAL, a longer one is accepted when the bytes this kernel does
 * not know are zero and E2BIG otherwise. Unknown flags and non-zero pad
 * fields are EINVAL.
 *
 * Errors, one cause each:
 *
 *	EINVAL		malformed: unknown flag or placement, non-zero pad
 *	E2BIG		unknown non-zero bytes in a longer struct
 *	ENOENT		no such handle
 *	EDOM		size or offset not a multiple of 4096, or size 0
 *	ERANGE		a window outside the region
 *	EPERM		a window without CAP_SYS_RAWIO
 *	ENOSPC		VRAM cannot hold the object, even after all of it was
 *			evicted twice, if others come back as fast; the
 *			dmem.max of the caller's cgroup does not allow it;
 *			also when an object larger than VRAM is to be created
 *			in system memory
 *	ENOMEM		system memory exhausted
 *	EDQUOT		over the file's residency limit and nothing of the file
 *			can be evicted (EBUSY when it only is in use), or over a
 *			pin limit (VRAM-only objects count as pinned;
 *			CAP_SYS_RESOURCE overrides; what is pinned in system
 *			memory counts against RLIMIT_MEMLOCK)
 *	EBUSY		the object is pinned or CPU-mapped by the kernel, or
 *			NOWAIT and it is in use
 *	EXDEV		move to VRAM while an importer that cannot reach the
 *			BAR is attached
 *	EREMOTEIO	attach of such an importer to a VRAM-only object or a
 *			window (seen by the importer, which sees EBUSY when the
 *			object is pinned or CPU-mapped in VRAM)
 *	EREMOTE		PRIME import of a dma-buf that is not of this device
 *	EACCES		PRIME import of a dma-buf that was exported without
 *			DRM_RDWR, by another open file than the exporting one
 *	EFAULT		user memory cannot be accessed; an object or descriptor that
 *			was made and could not be told of goes with the file, or
 *			the process
 *	EOPNOTSUPP	move of a window or of a VRAM-only object to system
 *			memory
 *	EINTR		interrupted, the object is as it was; others may have
 *			been evicted to make room for it
 *	ENODEV		the device is gone
 *	ENXIO		PEER_INFO: no such PCI function
 *
 * Paged regions
 *
 * A region with P2PBUF_DEVICE_PAGED in its flags has a struct page for each
 * page, and so have all its VRAM objects, in both placements (there is nothing
 * to ask for when one is created). Two things follow. The CPU mapping of an
 * object is a valid buffer for O_DIRECT: pread() and pwrite() and io_uring's
 * READ and WRITE with an address. And (a part of) an object can be registered
 * as a fixed buffer of an io_uring, for READ_FIXED and WRITE_FIXED on any
 * O_DIRECT file. Windows can do neither.
 *
 * REGISTER and UNREGISTER are IORING_OP_URING_CMD on the render node, issued
 * on the ring that shall have the buffer, which must have a buffer table
 * (io_uring_register_buffers_sparse()):
 *
 *	sqe->fd		the render node (a fixed file works too)
 *	sqe->cmd_op	P2PBUF_URING_REGISTER or P2PBUF_URING_UNREGISTER
 *	sqe->addr	REGISTER: first byte in the object, multiple of 4096
 *	sqe->len	REGISTER: bytes, multiple of 4096; 0 means to the end
 *	sqe->cmd	struct drm_p2pbuf_uring_cmd
 *
 * cqe->res is 0 or -errno. All other fields of the SQE but user_data and the
 * flags common to all SQEs are zero, and so are addr and len of UNREGISTER.
 *
 * The addr of a READ_FIXED or WRITE_FIXED on the slot is the byte offset from
 * the first registered byte. Its ioprio must be
 * &drm_p2pbuf_device_info.io_priority when the slot was registered with
 * P2PBUF_PLACEMENT_VRAM, and must not be that value for any other I/O: the
 * block layer of 7.3 merges adjacent requests of fixed buffers in VRAM with
 * those of host memory, unless their priorities differ, and then some of the
 * bytes go to wrong addresses.
 *
 * A registered object stays where it is: it is pinned, and charged as any
 * pinned object, until the slot is empty again and I/O that uses it has ended.
 * The slot is emptied by UNREGISTER, by io_uring's own update of the table, or
 * by the end of the ring. Closing the render node or the handle does not, the
 * slot keeps the object alive. The unplug of the device waits for slots in
 * VRAM, and says so in the kernel's log. It can not be killed while it waits,
 * and the end of a ring needs the tasks that have used it: who unbinds the
 * device empties his own slots first, closing the ring does not do.
 *
 * Commands fail with these, or the errors above:
 *
 *	EINVAL		malformed: unknown command, flag or placement, no
 *			direction, an SQE field or a field of the command that
 *			must be zero is not
 *	EMEDIUMTYPE	the region is not paged
 *	EPROTOTYPE	the object is a window
 *	ENOENT		no such handle
 *	EDOM		offset or length not a multiple of 4096
 *	ERANGE		outside the object
 *	EFBIG		more than 4 GiB - 4096 in one slot
 *	EBADSLT		REGISTER: no such slot in the ring's buffer table;
 *			UNREGISTER: neither that, nor an empty slot, nor one
 *			that holds user memory
 *	EEXIST		the slot is taken
 *	EBUSY		pinned or CPU-mapped by the kernel in the other
 *			placement, or I/O that keeps it from moving does not
 *			end
 *	EXDEV, ENOSPC, EDQUOT, EOPNOTSUPP
 *			as above; the object is moved to the placement first
 *
 * A GEM_MOVE (or an eviction) of a paged object waits for O_DIRECT I/O on its
 * CPU mapping, no longer than 15 s (EBUSY). Whatever holds the pages for longer
 * (vmsplice(), buffers registered by address) makes moves fail with EBUSY; in
 * VRAM the kernel refuses such users. I/O by address on a disk that does not
 * take peer memory is refused by the kernel with EREMOTEIO while the object is
 * in VRAM.
 */
#ifndef _UAPI_P2PBUF_DRM_H_
#define _UAPI_P2PBUF_DRM_H_

#include <drm/drm.h>

#if defined(__cplusplus)
extern "C" {
#endif

/** P2PBUF_PLACEMENT_VRAM: memory of the exporter's device */
#define P2PBUF_PLACEMENT_VRAM		(1U << 0)
/** P2PBUF_PLACEMENT_SYSTEM: host memory that devices can reach */
#define P2PBUF_PLACEMENT_SYSTEM		(1U << 1)

/**
 * P2PBUF_DEVICE_PAGED: objects have struct pages: their CPU mappings can be
 * used for O_DIRECT, and they can be registered as io_uring fixed buffers
 */
#define P2PBUF_DEVICE_PAGED		(1U << 0)

/**
 * struct drm_p2pbuf_device_info - DRM_IOCTL_P2PBUF_DEVICE_INFO
 * @vram_size: out, bytes of the region
 * @vram_used: out, bytes of it allocated now, by anybody
 * @pci: out, the function, as domain << 16 | bus << 8 | devfn; 0xffffffff in a
 *	PCI domain that 16 bits cannot hold (below a VMD)
 * @bar: out, the BAR the region lies in
 * @flags: out, P2PBUF_DEVICE_* bits
 * @page_size: out, unit of size and offset, 4096
 * @resident_limit: out, bytes of VRAM this open file may hold
 * @resident_used: out, bytes of VRAM it holds now
 * @pin_limit: out, bytes of VRAM this user may pin
 * @pin_used: out, bytes this user has pinned now
 * @io_priority: out, paged regions only, else 0: the ioprio of every SQE on a
 *	slot in VRAM. Class best effort, level 4 (what processes have by
 *	default), and a hint that no other region of this kernel has
 * @pad: out, zero
 */
struct drm_p2pbuf_device_info {
	__u64 vram_size;
	__u64 vram_used;
	__u32 pci;
	__u32 bar;
	__u32 flags;
	__u32 page_size;
	__u64 resident_limit;
	__u64 resident_used;
	__u64 pin_limit;
	__u64 pin_used;
	__u32 io_priority;
	__u32 pad;
};

/**
 * P2PBUF_CREATE_VRAM_ONLY: the object is never placed in system memory; an
 * importer that cannot reach the BAR is refused (EREMOTEIO at attach). It is
 * charged as pinned for as long as it lives, and lost when the device goes.
 */
#define P2PBUF_CREATE_VRAM_ONLY		(1U << 0)
/** P2PBUF_CREATE_WINDOW: a fixed BAR window at window_offset */
#define P2PBUF_CREATE_WINDOW		(1U << 1)

/**
 * struct drm_p2pbuf_gem_create - DRM_IOCTL_P2PBUF_GEM_CREATE
 * @size: bytes, multiple of 4096
 * @window_offset: offset in the region, multiple of 4096, of a window; else 0
 * @placement: where the object is first put, one P2PBUF_PLACEMENT_* bit;
 *	VRAM for windows
 * @flags: P2PBUF_CREATE_* bits
 * @handle: out, GEM handle
 * @pad: must be zero
 * @mmap_offset: out, offset to mmap() on the render node
 */
struct drm_p2pbuf_gem_create {
	__u64 size;
	__u64 window_offset;
	__u32 placement;
	__u32 flags;
	__u32 handle;
	__u32 pad;
	__u64 mmap_offset;
};

/**
 * P2PBUF_MOVE_NOWAIT: fail with EBUSY instead of waiting for I/O, or for others
 * who wait for room in VRAM; another move of the same object is waited for
 */
#define P2PBUF_MOVE_NOWAIT		(1U << 0)

/**
 * struct drm_p2pbuf_gem_move - DRM_IOCTL_P2PBUF_GEM_MOVE
 * @handle: the object
 * @placement: where to, one P2PBUF_PLACEMENT_* bit; moving to where it is
 *	succeeds and does nothing
 * @flags: P2PBUF_MOVE_* bits
 * @pad: must be zero
 *
 * Importers are told, their I/O in flight is waited for, the bytes are
 * copied, the importers map the new place by themselves.
 */
struct drm_p2pbuf_gem_move {
	__u32 handle;
	__u32 placement;
	__u32 flags;
	__u32 pad;
};

/**
 * struct drm_p2pbuf_gem_info - DRM_IOCTL_P2PBUF_GEM_INFO
 * @handle: in, the object
 * @placement: out, where it is now, one P2PBUF_PLACEMENT_* bit
 * @flags: out, its P2PBUF_CREATE_* bits
 * @pad: must be zero
 * @size: out, bytes
 * @mmap_offset: out, offset to mmap() on the render node
 * @generation: out, grows with each change of place
 * @evictions: out, changes of place that were not asked for by GEM_MOVE
 * @mappings: out, times an importer mapped it
 * @pins: out, pins held now
 */
struct drm_p2pbuf_gem_info {
	__u32 handle;
	__u32 placement;
	__u32 flags;
	__u32 pad;
	__u64 size;
	__u64 mmap_offset;
	__u64 generation;
	__u64 evictions;
	__u64 mappings;
	__u64 pins;
};

/** P2PBUF_PEER_REACHABLE: the function reaches the region, peer to peer */
#define P2PBUF_PEER_REACHABLE		(1U << 0)

/**
 * struct drm_p2pbuf_peer_info - DRM_IOCTL_P2PBUF_PEER_INFO
 * @pci: in, a function, as domain << 16 | bus << 8 | devfn
 * @flags: out, P2PBUF_PEER_* bits
 *
 * The kernel's own judgement (pci_p2pdma_distance()), which decides about
 * fixed buffers and O_DIRECT. It says nothing about the function's driver: of
 * the disk drivers of 7.3 only nvme takes peer memory.
 */
struct drm_p2pbuf_peer_info {
	__u32 pci;
	__u32 flags;
};

/** P2PBUF_REGISTER_READ: READ_FIXED may fill the buffer */
#define P2PBUF_REGISTER_READ		(1U << 0)
/** P2PBUF_REGISTER_WRITE: WRITE_FIXED may take bytes from the buffer */
#define P2PBUF_REGISTER_WRITE		(1U << 1)

/**
 * struct drm_p2pbuf_uring_cmd - the cmd area of an SQE on the render node
 * @handle: REGISTER: the object; UNREGISTER: must be zero
 * @index: slot of the ring's buffer table
 * @placement: REGISTER: where the object is moved to, if it is not there, and
 *	stays, one P2PBUF_PLACEMENT_* bit; UNREGISTER: must be zero
 * @flags: REGISTER: P2PBUF_REGISTER_* bits, at least one; I/O in the other
 *	direction is EFAULT. UNREGISTER: must be zero
 */
struct drm_p2pbuf_uring_cmd {
	__u32 handle;
	__u32 index;
	__u32 placement;
	__u32 flags;
};

/** P2PBUF_URING_REGISTER: put (a part of) an object into a slot */
#define P2PBUF_URING_REGISTER		0x01
/**
 * P2PBUF_URING_UNREGISTER: empty a slot. io_uring does not tell whose it is:
 * a buffer that another driver registered goes, too.
 */
#define P2PBUF_URING_UNREGISTER		0x02

#define DRM_P2PBUF_DEVICE_INFO		0x00
#define DRM_P2PBUF_GEM_CREATE		0x01
#define DRM_P2PBUF_GEM_MOVE		0x02
#define DRM_P2PBUF_GEM_INFO		0x03
#define DRM_P2PBUF_PEER_INFO		0x04

#define DRM_IOCTL_P2PBUF_DEVICE_INFO \
	DRM_IOR(DRM_COMMAND_BASE + DRM_P2PBUF_DEVICE_INFO, \
		struct drm_p2pbuf_device_info)
#define DRM_IOCTL_P2PBUF_GEM_CREATE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_P2PBUF_GEM_CREATE, \
		 struct drm_p2pbuf_gem_create)
#define DRM_IOCTL_P2PBUF_GEM_MOVE \
	DRM_IOW(DRM_COMMAND_BASE + DRM_P2PBUF_GEM_MOVE, \
		struct drm_p2pbuf_gem_move)
#define DRM_IOCTL_P2PBUF_GEM_INFO \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_P2PBUF_GEM_INFO, \
		 struct drm_p2pbuf_gem_info)
#define DRM_IOCTL_P2PBUF_PEER_INFO \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_P2PBUF_PEER_INFO, \
		 struct drm_p2pbuf_peer_info)

#if defined(__cplusplus)
}
#endif

#endif /* _UAPI_P2PBUF_DRM_H_ */
