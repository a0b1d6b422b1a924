// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * A buffer: one dma-buf, and its GEM handle where its exporter is known.
 *
 * Mapping, binding and passing need the dma-buf alone, so they work with any
 * exporter. Moving and asking for the placement need the handle.
 */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <linux/dma-buf.h>
#include <linux/magic.h>

#include <drm/p2pbuf_drm.h>

#include "internal.h"

int p2pbuf_buffer_adopt(int fd, struct p2pbuf_buffer **out,
			struct p2pbuf_error *error)
{
	struct p2pbuf_buffer *buf;
	struct statfs fs;
	off_t length;
	int ret;

	if (fstatfs(fd, &fs) < 0) {
		ret = p2pbuf_fail(error, errno, "descriptor %d: %s", fd,
				  strerrordesc_np(errno));
		goto close;
	}
	if (fs.f_type != DMA_BUF_MAGIC) {
		ret = p2pbuf_fail(error, EBADFD,
				  "descriptor %d is not a dma-buf", fd);
		goto close;
	}
	length = lseek(fd, 0, SEEK_END);
	if (length < 0) {
		ret = p2pbuf_fail(error, errno,
				  "the dma-buf does not tell its size");
		goto close;
	}
	buf = calloc(1, sizeof(*buf));
	if (!buf) {
		ret = p2pbuf_fail(error, ENOMEM, "out of memory");
		goto close;
	}
	buf->fd = fd;
	buf->length = length;
	*out = buf;

	return 0;

close:
	close(fd);
	return ret;
}

int p2pbuf_import(int fd, struct p2pbuf_buffer **buf, struct p2pbuf_error *error)
{
	int mine = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (mine < 0)
		return p2pbuf_fail(error, errno, "descriptor %d: %s", fd,
				   strerrordesc_np(errno));
	return p2pbuf_buffer_adopt(mine, buf, error);
}

int p2pbuf_export_fd(struct p2pbuf_buffer *buf)
{
	int fd = fcntl(buf->fd, F_DUPFD_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

int p2pbuf_set_exporter(struct p2pbuf_buffer *buf,
			struct p2pbuf_exporter *exporter,
			struct p2pbuf_error *error)
{
	struct drm_p2pbuf_gem_info info = { 0 };
	uint32_t handle;
	int ret;

	if (buf->exporter)
		return p2pbuf_fail(error, EALREADY,
				   "the buffer's exporter is known already");
	ret = p2pbuf_gem_import(exporter, buf->fd, &handle);
	if (ret < 0)
		return p2pbuf_fail(error, -ret, "%s cannot import the buffer: %s",
				   exporter->node, p2pbuf_strerror(ret));

	/* A driver may import what others export; that does not make it its. */
	info.handle = handle;
	ret = p2pbuf_ioctl(exporter->fd, DRM_IOCTL_P2PBUF_GEM_INFO, &info);
	if (ret < 0) {
		p2pbuf_gem_put(exporter, handle);
		return p2pbuf_fail(error, -ret, "%s did not make the buffer: %s",
				   exporter->node, p2pbuf_strerror(ret));
	}
	buf->handle = handle;
	buf->exporter = p2pbuf_exporter_get(exporter);

	return 0;
}

/* The dma-buf of a handle: a new fd or -errno. */
static int export_handle(struct p2pbuf_exporter *exporter, uint32_t handle)
{
	struct drm_prime_handle prime = {
		.handle = handle,
		.flags = DRM_CLOEXEC | DRM_RDWR,
	};
	int ret = p2pbuf_ioctl(exporter->fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime);

	return ret < 0 ? ret : prime.fd;
}

static int create_failed(struct p2pbuf_exporter *exporter, int code,
			 const struct drm_p2pbuf_gem_create *args,
			 struct p2pbuf_error *error)
{
	unsigned long long size = args->size;

	switch (code) {
	case EDOM:
		return p2pbuf_fail(error, code,
				   "a size of %llu bytes or an offset of %llu is not a multiple of %u, or 0",
				   size, (unsigned long long)args->window_offset,
				   P2PBUF_PAGE);
	case ENOSPC:
		return p2pbuf_fail(error, code,
				   "the memory of %s cannot hold %llu more bytes, even after eviction, or this cgroup may not have as much (dmem.max)",
				   exporter->device, size);
	case EDQUOT:
		return p2pbuf_fail(error, code,
				   "%llu more bytes are over the limit of this user on %s",
				   size, exporter->device);
	case ERANGE:
		return p2pbuf_fail(error, code,
				   "%llu bytes from %llu lie outside the memory of %s",
				   size, (unsigned long long)args->window_offset,
				   exporter->device);
	case EPERM:
		return p2pbuf_fail(error, code,
				   "a window of the BAR of %s needs CAP_SYS_RAWIO",
				   exporter->device);
	}
	return p2pbuf_fail(error, code, "cannot allocate %llu bytes on %s: %s",
			   size, exporter->device, p2pbuf_strerror(code));
}

static int create(struct p2pbuf_exporter *exporter,
		  struct drm_p2pbuf_gem_create *args, const char *name,
		  struct p2pbuf_buffer **out, struct p2pbuf_error *error)
{
	struct drm_gem_close closing = { 0 };
	struct p2pbuf_buffer *buf = NULL;
	int fd, ret;

	ret = p2pbuf_ioctl(exporter->fd, DRM_IOCTL_P2PBUF_GEM_CREATE, args);
	if (ret < 0)
		return create_failed(exporter, -ret, args, error);
	closing.handle = args->handle;
	fd = export_handle(exporter, args->handle);
	if (fd < 0) {
		ret = p2pbuf_fail(error, -fd, "cannot export the buffer: %s",
				  p2pbuf_strerror(fd));
		goto close_handle;
	}
	/* From here on @fd belongs to the buffer. */
	ret = p2pbuf_buffer_adopt(fd, &buf, error);
	if (ret < 0)
		goto close_handle;
	if (name && ioctl(buf->fd, DMA_BUF_SET_NAME_B, name) < 0) {
		ret = p2pbuf_fail(error, errno, "cannot name the buffer: %s",
				  strerrordesc_np(errno));
		goto free_buffer;
	}
	/* Finds the handle that was just made, and counts it. */
	ret = p2pbuf_gem_import(exporter, buf->fd, &buf->handle);
	if (ret < 0) {
		ret = p2pbuf_fail(error, -ret, "cannot keep the buffer: %s",
				  p2pbuf_strerror(ret));
		goto free_buffer;
	}
	buf->exporter = p2pbuf_exporter_get(exporter);
	*out = buf;

	return 0;

free_buffer:
	p2pbuf_free(buf);
close_handle:
	p2pbuf_ioctl(exporter->fd, DRM_IOCTL_GEM_CLOSE, &closing);
	return ret;
}

int p2pbuf_alloc(struct p2pbuf_exporter *exporter, uint64_t length,
		 const struct p2pbuf_alloc_opts *opts,
		 struct p2pbuf_buffer **buf, struct p2pbuf_error *error)
{
	struct drm_p2pbuf_gem_create args = { .size = length };
	struct p2pbuf_alloc_opts o;
	int ret;

	ret = p2pbuf_struct_in(&o, sizeof(o), opts, sizeof(o), error);
	if (ret < 0)
		return ret;
	if (o.flags & ~P2PBUF_VRAM_ONLY)
		return p2pbuf_fail(error, EINVAL, "unknown flags %#x",
				   o.flags & ~P2PBUF_VRAM_ONLY);
	if (o.name && strlen(o.name) >= DMA_BUF_NAME_LEN)
		return p2pbuf_fail(error, EINVAL,
				   "a buffer's name is at most %d bytes",
				   DMA_BUF_NAME_LEN - 1);

	args.placement = o.placement ? o.placement : P2PBUF_PLACEMENT_VRAM;
	args.flags = o.flags & P2PBUF_VRAM_ONLY ? P2PBUF_CREATE_VRAM_ONLY : 0;
	return create(exporter, &args, o.name, buf, error);
}

int p2pbuf_window(struct p2pbuf_exporter *exporter, uint64_t offset,
		  uint64_t length, struct p2pbuf_buffer **buf,
		  struct p2pbuf_error *error)
{
	struct drm_p2pbuf_gem_create args = {
		.size = length,
		.window_offset = offset,
		.placement = P2PBUF_PLACEMENT_VRAM,
		.flags = P2PBUF_CREATE_WINDOW,
	};

	return create(exporter, &args, NULL, buf, error);
}

/* The driver's name as the kernel shows it to the holder of the fd. */
static void read_exporter_name(int fd, char *name, size_t size)
{
	char path[48], line[128];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "exp_name:", 9))
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(name, size, "%s", line + 9 + strspn(line + 9, " \t"));
		break;
	}
	fclose(f);
}

int p2pbuf_query(struct p2pbuf_buffer *buf, struct p2pbuf_buffer_info *info)
{
	struct drm_p2pbuf_gem_info raw = { .handle = buf->handle };
	struct p2pbuf_buffer_info mine = { .length = buf->length };
	int ret;

	if (buf->exporter) {
		ret = p2pbuf_ioctl(buf->exporter->fd, DRM_IOCTL_P2PBUF_GEM_INFO,
				   &raw);
		if (ret < 0)
			return ret;
		mine.placement = raw.placement;
		if (raw.flags & P2PBUF_CREATE_VRAM_ONLY)
			mine.flags |= P2PBUF_VRAM_ONLY;
		if (raw.flags & P2PBUF_CREATE_WINDOW)
			mine.flags |= P2PBUF_WINDOW;
		mine.generation = raw.generation;
		mine.evictions = raw.evictions;
		mine.mappings = raw.mappings;
		mine.pins = raw.pins;
	} else {
		mine.flags = P2PBUF_FOREIGN;
	}
	read_exporter_name(buf->fd, mine.exporter_name,
			   sizeof(mine.exporter_name));

	return p2pbuf_struct_out(info, &mine, sizeof(mine), sizeof(mine));
}

int p2pbuf_move(struct p2pbuf_buffer *buf, uint32_t placement, uint32_t flags,
		struct p2pbuf_error *error)
{
	struct drm_p2pbuf_gem_move args = {
		.handle = buf->handle,
		.placement = placement,
		.flags = flags & P2PBUF_NOWAIT ? P2PBUF_MOVE_NOWAIT : 0,
	};
	const char *where, *device;
	int ret;

	if (!buf->exporter)
		return p2pbuf_fail(error, EOPNOTSUPP,
				   "the buffer was imported and its exporter is not known");
	if (flags & ~P2PBUF_NOWAIT)
		return p2pbuf_fail(error, EINVAL, "unknown flags %#x",
				   flags & ~P2PBUF_NOWAIT);
	ret = p2pbuf_ioctl(buf->exporter->fd, DRM_IOCTL_P2PBUF_GEM_MOVE, &args);
	if (ret >= 0)
		return 0;

	device = buf->exporter->device;
	where = placement == P2PBUF_PLACEMENT_VRAM ? "device" : "host";
	switch (-ret) {
	case EXDEV:
		return p2pbuf_fail(error, EXDEV,
				   "an importer that cannot reach the memory of %s is attached to the buffer",
				   device);
	case EOPNOTSUPP:
		return p2pbuf_fail(error, EOPNOTSUPP,
				   "a window or a VRAM-only buffer of %s stays where it is",
				   device);
	case ENOSPC:
		return p2pbuf_fail(error, ENOSPC,
				   "the memory of %s cannot hold the buffer, even after eviction, or this cgroup may not have as much (dmem.max)",
				   device);
	case EBUSY:
		return p2pbuf_fail(error, EBUSY,
				   "the buffer on %s is pinned or in use", device);
	}
	return p2pbuf_fail(error, -ret, "cannot move the buffer to %s memory: %s",
			   where, p2pbuf_strerror(ret));
}

void p2pbuf_free(struct p2pbuf_buffer *buf)
{
	if (!buf)
		return;
	close(buf->fd);
	if (buf->exporter) {
		p2pbuf_gem_put(buf->exporter, buf->handle);
		p2pbuf_exporter_close(buf->exporter);
	}
	free(buf);
}

int p2pbuf_map(struct p2pbuf_buffer *buf, uint64_t offset, size_t length,
	       uint32_t access, void **ptr)
{
	int prot = 0;
	void *p;

	if (!access || access & ~(P2PBUF_READ | P2PBUF_WRITE))
		return -EINVAL;
	if (offset % P2PBUF_PAGE)
		return -EDOM;
	if (offset >= buf->length)
		return -ERANGE;
	if (!length)
		length = buf->length - offset;
	if (length > buf->length - offset)
		return -ERANGE;

	if (access & P2PBUF_READ)
		prot |= PROT_READ;
	if (access & P2PBUF_WRITE)
		prot |= PROT_WRITE;
	p = mmap(NULL, length, prot, MAP_SHARED, buf->fd, offset);
	if (p == MAP_FAILED)
		return -errno;
	*ptr = p;

	return 0;
}

/*
 * A read of the BAR takes the way that the data took and cannot pass it (PCI
 * Express Base Specification 6.0, section 2.4.1). One page is enough: all of
 * the buffer is behind the same port.
 */
int p2pbuf_flush(struct p2pbuf_buffer *buf)
{
	void *ptr;
	int ret;

	ptr = mmap(NULL, P2PBUF_PAGE, PROT_READ, MAP_SHARED, buf->fd, 0);
	if (ptr == MAP_FAILED)
		return -errno;
	ret = p2pbuf_sync_begin(buf, P2PBUF_READ);
	if (!ret) {
		atomic_thread_fence(memory_order_seq_cst);
		(void)*(volatile uint32_t *)ptr;
		ret = p2pbuf_sync_end(buf, P2PBUF_READ);
	}
	p2pbuf_unmap(ptr, P2PBUF_PAGE);

	return ret;
}

int p2pbuf_unmap(void *ptr, size_t length)
{
	return munmap(ptr, length) < 0 ? -errno : 0;
}
