/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The exporter's render node for tests, by raw ioctls.
 *
 * Calls return 0, an fd, or -errno; the caller owns what it gets. An ioctl
 * that a signal interrupted is issued again, as libdrm does: nothing was
 * changed by it.
 */
#ifndef P2PBUF_TEST_EXPORTER_H
#define P2PBUF_TEST_EXPORTER_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <drm/p2pbuf_drm.h>

#define PTX_DRIVER_NAME		"p2pbuf_exporter"
#define PTX_RENDER_MINOR_FIRST	128
#define PTX_RENDER_MINOR_LAST	255

static inline int ptx_ioctl(int fd, unsigned long request, void *arg)
{
	int ret;

	do {
		ret = ioctl(fd, request, arg);
	} while (ret < 0 && errno == EINTR);

	return ret < 0 ? -errno : ret;
}

/* Is @fd a render node of the exporter? */
static inline bool ptx_is_exporter(int fd)
{
	char name[sizeof(PTX_DRIVER_NAME)] = "";
	struct drm_version version = {
		.name = name,
		.name_len = sizeof(name) - 1,
	};

	return !ptx_ioctl(fd, DRM_IOCTL_VERSION, &version) &&
	       version.name_len == sizeof(name) - 1 &&
	       !strcmp(name, PTX_DRIVER_NAME);
}

/*
 * Open the @index-th render node of the exporter, in the order of minors.
 * -ENODEV when there are not as many.
 */
static inline int ptx_open(unsigned int index)
{
	char path[32];
	int fd, minor;

	for (minor = PTX_RENDER_MINOR_FIRST; minor <= PTX_RENDER_MINOR_LAST;
	     minor++) {
		snprintf(path, sizeof(path), "/dev/dri/renderD%d", minor);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (ptx_is_exporter(fd) && !index--)
			return fd;
		close(fd);
	}

	return -ENODEV;
}

static inline int ptx_device_info(int fd, struct drm_p2pbuf_device_info *out)
{
	memset(out, 0, sizeof(*out));
	return ptx_ioctl(fd, DRM_IOCTL_P2PBUF_DEVICE_INFO, out);
}

/* @placement: one P2PBUF_PLACEMENT_* bit, @flags: P2PBUF_CREATE_* bits. */
static inline int ptx_create(int fd, __u64 size, __u32 placement, __u32 flags,
			     struct drm_p2pbuf_gem_create *out)
{
	memset(out, 0, sizeof(*out));
	out->size = size;
	out->placement = placement;
	out->flags = flags;
	return ptx_ioctl(fd, DRM_IOCTL_P2PBUF_GEM_CREATE, out);
}

/* A fixed window of the BAR. */
static inline int ptx_create_window(int fd, __u64 size, __u64 window_offset,
				    struct drm_p2pbuf_gem_create *out)
{
	memset(out, 0, sizeof(*out));
	out->size = size;
	out->window_offset = window_offset;
	out->placement = P2PBUF_PLACEMENT_VRAM;
	out->flags = P2PBUF_CREATE_WINDOW;
	return ptx_ioctl(fd, DRM_IOCTL_P2PBUF_GEM_CREATE, out);
}

/* The dma-buf of an object: a new fd. */
static inline int ptx_export(int fd, __u32 handle, bool writable)
{
	struct drm_prime_handle prime = {
		.handle = handle,
		.flags = DRM_CLOEXEC | (writable ? DRM_RDWR : 0),
	};
	int ret = ptx_ioctl(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime);

	return ret ? ret : prime.fd;
}

static inline int ptx_import(int fd, int dmabuf_fd, __u32 *handle)
{
	struct drm_prime_handle prime = { .fd = dmabuf_fd };
	int ret = ptx_ioctl(fd, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime);

	*handle = prime.handle;
	return ret;
}

static inline int ptx_move(int fd, __u32 handle, __u32 placement, __u32 flags)
{
	struct drm_p2pbuf_gem_move move = {
		.handle = handle,
		.placement = placement,
		.flags = flags,
	};

	return ptx_ioctl(fd, DRM_IOCTL_P2PBUF_GEM_MOVE, &move);
}

static inline int ptx_info(int fd, __u32 handle,
			   struct drm_p2pbuf_gem_info *out)
{
	memset(out, 0, sizeof(*out));
	out->handle = handle;
	return ptx_ioctl(fd, DRM_IOCTL_P2PBUF_GEM_INFO, out);
}

/* Where the object is, one P2PBUF_PLACEMENT_* bit; 0 when that cannot be told. */
static inline __u32 ptx_placement(int fd, __u32 handle)
{
	struct drm_p2pbuf_gem_info info;

	return ptx_info(fd, handle, &info) ? 0 : info.placement;
}

/*
 * Map an object through the render node (@offset is its mmap_offset) or a
 * dma-buf (@offset 0). NULL with errno set on failure; munmap() it.
 */
static inline void *ptx_mmap(int fd, __u64 size, __u64 offset)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		       (off_t)offset);

	return p == MAP_FAILED ? NULL : p;
}

static inline int ptx_close(int fd, __u32 handle)
{
	struct drm_gem_close close = { .handle = handle };

	return ptx_ioctl(fd, DRM_IOCTL_GEM_CLOSE, &close);
}

/*
 * A pattern in which no aligned 8 bytes repeat for different @seed or place.
 * VRAM is accessed in 8-byte units only; sizes are multiples of 8.
 */
static inline __u64 ptx_word(__u64 seed, __u64 index)
{
	return (seed * 0x100000001b3ULL + index) * 0x9e3779b97f4a7c15ULL;
}

static inline void ptx_fill(void *p, __u64 size, __u64 seed)
{
	volatile __u64 *word = p;
	__u64 i;

	for (i = 0; i < size / 8; i++)
		word[i] = ptx_word(seed, i);
}

/* Offset of the first wrong 8 bytes, or @size when all of it is right. */
static inline __u64 ptx_check(const void *p, __u64 size, __u64 seed)
{
	const volatile __u64 *word = p;
	__u64 i;

	for (i = 0; i < size / 8; i++)
		if (word[i] != ptx_word(seed, i))
			break;

	return i * 8;
}

/* Offset of the first 8 bytes that are not @value everywhere, or @size. */
static inline __u64 ptx_check_value(const void *p, __u64 size, __u64 value)
{
	const volatile __u64 *word = p;
	__u64 i;

	for (i = 0; i < size / 8; i++)
		if (word[i] != value)
			break;

	return i * 8;
}

/**
 * struct ptx_object - one with a pattern in it
 * @bo: what create told
 * @map: the CPU's view
 */
struct ptx_object {
	struct drm_p2pbuf_gem_create bo;
	void *map;
};

static inline int ptx_object_create(int fd, __u64 size, __u32 placement,
				    __u32 flags, __u64 seed,
				    struct ptx_object *o)
{
	int ret = ptx_create(fd, size, placement, flags, &o->bo);

	if (ret)
		return ret;
	o->map = ptx_mmap(fd, size, o->bo.mmap_offset);
	if (!o->map)
		return -errno;
	ptx_fill(o->map, size, seed);
	return 0;
}

#endif /* P2PBUF_TEST_EXPORTER_H */
