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
 *	ENOSPC		VRAM cannot hold the object, even after eviction; also
 *			when an object larger than VRAM is to be created in
 *			system memory
 *	ENOMEM		system memory exhausted
 *	EDQUOT		over the file's residency limit and nothing of the file
 *			can be evicted, or over a pin limit (VRAM-only objects
 *			count as pinned; CAP_SYS_RESOURCE overrides; what is
 *			pinned in system memory counts against RLIMIT_MEMLOCK)
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
 *	EFAULT		user memory cannot be accessed
 *	EOPNOTSUPP	move of a window or of a VRAM-only object to system
 *			memory
 *	EINTR		interrupted, nothing was changed
 *	ENODEV		the device is gone
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

/** P2PBUF_DEVICE_PAGED: the region has struct pages (file I/O, GUP) */
#define P2PBUF_DEVICE_PAGED		(1U << 0)

/**
 * struct drm_p2pbuf_device_info - DRM_IOCTL_P2PBUF_DEVICE_INFO
 * @vram_size: out, bytes of the region
 * @vram_used: out, bytes of it allocated now, by anybody
 * @pci: out, the function, as domain << 16 | bus << 8 | devfn
 * @bar: out, the BAR the region lies in
 * @flags: out, P2PBUF_DEVICE_* bits
 * @page_size: out, unit of size and offset, 4096
 * @resident_limit: out, bytes of VRAM this open file may hold
 * @resident_used: out, bytes of VRAM it holds now
 * @pin_limit: out, bytes of VRAM this user may pin
 * @pin_used: out, bytes this user has pinned now
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

/** P2PBUF_MOVE_NOWAIT: fail with EBUSY instead of waiting for I/O */
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

#define DRM_P2PBUF_DEVICE_INFO		0x00
#define DRM_P2PBUF_GEM_CREATE		0x01
#define DRM_P2PBUF_GEM_MOVE		0x02
#define DRM_P2PBUF_GEM_INFO		0x03

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

#if defined(__cplusplus)
}
#endif

#endif /* _UAPI_P2PBUF_DRM_H_ */
