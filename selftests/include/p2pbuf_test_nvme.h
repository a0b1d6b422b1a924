/* SPDX-License-Identifier: GPL-2.0 */
/*
 * /dev/p2pbuf-nvme for tests, by raw ioctls and a plain liburing ring.
 *
 * Three kinds of things: disks (found by the serial number of their
 * controller), buffers (of any exporter there is, with a CPU mapping), and
 * I/O between the two. The independent truth about a disk is O_DIRECT
 * pread() and pwrite() on a file descriptor of its own.
 *
 * Calls return 0, an fd, a count, or -errno.
 */
#ifndef P2PBUF_TEST_NVME_H
#define P2PBUF_TEST_NVME_H

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <linux/dma-buf.h>
#include <linux/fs.h>

#include <liburing.h>
#include <linux/p2pbuf_nvme.h>

#include "p2pbuf_test_exporter.h"
#include "p2pbuf_test_foreign.h"
#include "p2pbuf_test_write.h"

#define PTN_NODE	"/dev/p2pbuf-nvme"
#define PTN_PAGE	4096ULL
#define PTN_KIB		1024ULL
#define PTN_MIB		(1024ULL * 1024)

/* Never a word of ptx_word(): tests would see it at once if it were. */
#define PTN_POISON	0xdeadbeefdeadbeefULL

#define PTN_MIN(a, b)	((a) < (b) ? (a) : (b))

/* ---- disks ---------------------------------------------------------------- */

/**
 * struct ptn_disk - a namespace or partition
 * @fd: opened for reading and writing, through the page cache
 * @direct: another open file, O_DIRECT
 * @name: of the block device, as in /sys/block
 * @size: bytes
 * @block: logical block
 */
struct ptn_disk {
	int fd;
	int direct;
	char name[NAME_MAX + 1];
	__u64 size;
	__u32 block;
};

static inline int ptn_read_text(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, out, size - 1);
	close(fd);
	if (n < 0)
		return -errno;
	out[n] = 0;
	while (n > 0 && isspace(out[n - 1]))
		out[--n] = 0;
	return 0;
}

/*
 * The name of the first namespace of the controller with serial number @role,
 * as in /sys/block. Paths below a multipath head have no device node and are
 * left out. -ENODEV when there is none.
 */
static inline int ptn_disk_name(const char *role, char *name, size_t size)
{
	char path[PATH_MAX], serial[64];
	struct dirent *e;
	DIR *dir;
	int ret = -ENODEV;

	dir = opendir("/sys/block");
	if (!dir)
		return -errno;
	while (ret && (e = readdir(dir))) {
		unsigned int disk, ns;
		int end = 0;

		if (sscanf(e->d_name, "nvme%un%u%n", &disk, &ns, &end) != 2 ||
		    e->d_name[end])
			continue;
		snprintf(path, sizeof(path), "/sys/block/%s/device/serial",
			 e->d_name);
		if (ptn_read_text(path, serial, sizeof(serial)) ||
		    strcmp(serial, role))
			continue;
		snprintf(name, size, "%s", e->d_name);
		ret = 0;
	}
	closedir(dir);
	return ret;
}

/*
 * The role of a drive whose commands are under way for milliseconds, where
 * the machine has one: what ends under way is then sure to do so.
 */
static inline const char *ptn_slow(void)
{
	char name[NAME_MAX + 1];

	return ptn_disk_name("slow", name, sizeof(name)) ? "main" : "slow";
}

static inline void ptn_disk_close(struct ptn_disk *disk)
{
	close(disk->fd);
	close(disk->direct);
	disk->fd = -1;
	disk->direct = -1;
}

/* Open /dev/@name. */
static inline int ptn_disk_open_name(const char *name, struct ptn_disk *disk)
{
	char path[PATH_MAX];
	int block, ret = 0;

	memset(disk, 0, sizeof(*disk));
	snprintf(disk->name, sizeof(disk->name), "%s", name);
	snprintf(path, sizeof(path), "/dev/%s", name);
	disk->fd = open(path, O_RDWR | O_CLOEXEC);
	disk->direct = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (disk->fd < 0 || disk->direct < 0 ||
	    ioctl(disk->fd, BLKGETSIZE64, &disk->size) ||
	    ioctl(disk->fd, BLKSSZGET, &block)) {
		ret = -errno;
		ptn_disk_close(disk);
		return ret;
	}
	disk->block = block;
	return 0;
}

static inline int ptn_disk_open(const char *role, struct ptn_disk *disk)
{
	char name[sizeof(disk->name)];
	int ret = ptn_disk_name(role, name, sizeof(name));

	return ret ? ret : ptn_disk_open_name(name, disk);
}

/* All of @length or an error. */
static inline int ptn_disk_read(const struct ptn_disk *disk, void *p,
				__u64 length, __u64 offset)
{
	while (length) {
		ssize_t n = pread(disk->direct, p, length, offset);

		if (n <= 0)
			return n ? -errno : -ENXIO;
		p = (char *)p + n;
		offset += n;
		length -= n;
	}
	return 0;
}

static inline int ptn_disk_write(const struct ptn_disk *disk, const void *p,
				 __u64 length, __u64 offset)
{
	while (length) {
		ssize_t n = pwrite(disk->direct, p, length, offset);

		if (n <= 0)
			return n ? -errno : -ENXIO;
		p = (const char *)p + n;
		offset += n;
		length -= n;
	}
	return 0;
}

/* ---- memory and patterns --------------------------------------------------- */

/* Page-aligned, zeroed; NULL on failure. */
static inline void *ptn_memory(__u64 size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/*
 * The pattern of @seed for the place @base (bytes, a multiple of 8): what
 * lies at that place of a disk or buffer. Half of a word is written where @p
 * is only a multiple of 4.
 */
static inline void ptn_fill(void *p, __u64 length, __u64 seed, __u64 base)
{
	__u64 i;

	if ((uintptr_t)p % 8) {
		volatile __u32 *half = p;

		for (i = 0; i < length / 4; i++)
			half[i] = ptx_word(seed, (base + i * 4) / 8) >>
				  (i % 2 * 32);
	} else {
		volatile __u64 *word = p;

		for (i = 0; i < length / 8; i++)
			word[i] = ptx_word(seed, base / 8 + i);
	}
}

static inline __u64 ptn_check_halves(const volatile __u32 *half, __u64 length,
				     __u64 seed, __u64 base)
{
	__u64 i;

	for (i = 0; i < length / 4; i++)
		if (half[i] != (__u32)(ptx_word(seed, (base + i * 4) / 8) >>
				       (i % 2 * 32)))
			break;
	return i * 4;
}

/* Offset of the first wrong word, or @length when all of it is right. */
static inline __u64 ptn_check(const void *p, __u64 length, __u64 seed,
			      __u64 base)
{
	const volatile __u64 *word = p;
	__u64 i;

	if ((uintptr_t)p % 8)
		return ptn_check_halves(p, length, seed, base);
	for (i = 0; i < length / 8; i++)
		if (word[i] != ptx_word(seed, base / 8 + i))
			break;
	return i * 8;
}

/* @p and @length are multiples of 4. */
static inline void ptn_poison(void *p, __u64 length)
{
	volatile __u32 *half = p;
	volatile __u64 *word;

	if ((uintptr_t)p % 8 && length) {
		*half++ = (__u32)PTN_POISON;
		length -= 4;
	}
	for (word = (void *)half; length >= 8; length -= 8)
		*word++ = PTN_POISON;
	if (length)
		*(volatile __u32 *)word = (__u32)PTN_POISON;
}

/* Offset of the first 4 bytes that are not poison, or @length. */
static inline __u64 ptn_check_poison(const void *p, __u64 length)
{
	const volatile __u32 *half = p;
	__u64 i = 0;

	if ((uintptr_t)p % 8 == 0)
		i = ptx_check_value(p, length, PTN_POISON) / 4;
	for (; i < length / 4; i++)
		if (half[i] != (__u32)PTN_POISON)
			break;
	return i * 4;
}

/* Put the pattern on the disk, by way of @bounce of @bounce_size bytes. */
static inline int ptn_disk_fill(const struct ptn_disk *disk, __u64 offset,
				__u64 length, __u64 seed, void *bounce,
				__u64 bounce_size)
{
	__u64 n;
	int ret = 0;

	for (; length && !ret; offset += n, length -= n) {
		n = PTN_MIN(length, bounce_size);
		ptn_fill(bounce, n, seed, offset);
		ret = ptn_disk_write(disk, bounce, n, offset);
	}
	return ret;
}

/* ---- buffers --------------------------------------------------------------- */

enum ptn_kind {
	PTN_VRAM,	/* the exporter's, in VRAM */
	PTN_SYSTEM,	/* the exporter's, in system memory */
	PTN_WINDOW,	/* the exporter's, a fixed BAR window */
	PTN_UDMABUF,
	PTN_HEAP,	/* the system dma-heap */
};

/**
 * struct ptn_buffer - a dma-buf with a CPU mapping
 * @kind: where it comes from
 * @dmabuf: its fd
 * @map: all of it
 * @size: bytes
 * @node: the exporter's render node, or -1
 * @handle: the object there
 */
struct ptn_buffer {
	enum ptn_kind kind;
	int dmabuf;
	void *map;
	__u64 size;
	int node;
	__u32 handle;
};

static inline int ptn_buffer_object(struct ptn_buffer *b)
{
	struct drm_p2pbuf_gem_create create;
	int ret;

	b->node = ptx_open(0);
	if (b->node < 0)
		return b->node;
	if (b->kind == PTN_WINDOW)
		ret = ptx_create_window(b->node, b->size, 0, &create);
	else
		ret = ptx_create(b->node, b->size, b->kind == PTN_VRAM ?
				 P2PBUF_PLACEMENT_VRAM :
				 P2PBUF_PLACEMENT_SYSTEM, 0, &create);
	if (ret)
		return ret;
	b->handle = create.handle;
	b->dmabuf = ptx_export(b->node, b->handle, true);
	if (b->dmabuf < 0)
		return b->dmabuf;
	b->map = ptx_mmap(b->node, b->size, create.mmap_offset);
	return b->map ? 0 : -errno;
}

static inline int ptn_buffer_udmabuf(struct ptn_buffer *b)
{
	int memfd = ptk_memfd(b->size), ret = 0;

	if (memfd < 0)
		return memfd;
	b->dmabuf = ptk_udmabuf_of(memfd, b->size);
	b->map = ptx_mmap(memfd, b->size, 0);
	if (b->dmabuf < 0)
		ret = b->dmabuf;
	else if (!b->map)
		ret = -errno;
	close(memfd);
	return ret;
}

static inline int ptn_buffer_heap(struct ptn_buffer *b)
{
	b->dmabuf = ptk_heap(b->size, O_RDWR);
	if (b->dmabuf < 0)
		return b->dmabuf;
	b->map = ptx_mmap(b->dmabuf, b->size, 0);
	return b->map ? 0 : -errno;
}

static inline void ptn_buffer_free(struct ptn_buffer *b)
{
	if (b->map)
		munmap(b->map, b->size);
	if (b->dmabuf >= 0)
		close(b->dmabuf);
	if (b->node >= 0)
		close(b->node);
	b->map = NULL;
	b->dmabuf = -1;
	b->node = -1;
}

/* -ENODEV or -ENOENT when this machine has no such exporter. */
static inline int ptn_buffer_alloc(struct ptn_buffer *b, enum ptn_kind kind,
				   __u64 size)
{
	int ret;

	*b = (struct ptn_buffer){
		.kind = kind, .size = size, .dmabuf = -1, .node = -1,
	};
	switch (kind) {
	case PTN_UDMABUF:
		ret = ptn_buffer_udmabuf(b);
		break;
	case PTN_HEAP:
		ret = ptn_buffer_heap(b);
		break;
	default:
		ret = ptn_buffer_object(b);
	}
	if (ret)
		ptn_buffer_free(b);
	return ret;
}

/* ---- the node -------------------------------------------------------------- */

static inline int ptn_open(void)
{
	int fd = open(PTN_NODE, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* @length 0: up to the end. @out may be NULL. Returns the id or -errno. */
static inline int ptn_bind_range(int node, int dmabuf, int bdev, __u64 offset,
				 __u64 length, __u32 flags,
				 struct p2pbuf_nvme_bind *out)
{
	struct p2pbuf_nvme_bind bind = {
		.size = sizeof(bind),
		.flags = flags,
		.dmabuf_fd = dmabuf,
		.bdev_fd = bdev,
		.offset = offset,
		.length = length,
	};
	int ret = ptx_ioctl(node, P2PBUF_NVME_BIND, &bind);

	if (out)
		*out = bind;
	return ret ? ret : (int)bind.id;
}

static inline int ptn_bind(int node, int dmabuf, int bdev, __u32 flags)
{
	return ptn_bind_range(node, dmabuf, bdev, 0, 0, flags, NULL);
}

static inline int ptn_unbind(int node, __u32 id)
{
	struct p2pbuf_nvme_unbind unbind = {
		.size = sizeof(unbind),
		.id = id,
	};

	return ptx_ioctl(node, P2PBUF_NVME_UNBIND, &unbind);
}

static inline int ptn_info(int node, __u32 id,
			   struct p2pbuf_nvme_bind_info *out)
{
	memset(out, 0, sizeof(*out));
	out->size = sizeof(*out);
	out->id = id;
	return ptx_ioctl(node, P2PBUF_NVME_BIND_INFO, out);
}

/* ---- I/O ------------------------------------------------------------------- */

#define PTN_READ	P2PBUF_NVME_URING_READ
#define PTN_WRITE	P2PBUF_NVME_URING_WRITE

/**
 * struct ptn_io - one command
 * @op: PTN_READ or PTN_WRITE
 * @id: binding
 * @buf: offset in the binding
 * @dev: offset on the device
 * @len: bytes
 * @flags: P2PBUF_NVME_FUA, P2PBUF_NVME_FLUSH
 */
struct ptn_io {
	__u32 op;
	__u32 id;
	__u64 buf;
	__u64 dev;
	__u32 len;
	__u32 flags;
};

static inline void ptn_prep(struct io_uring_sqe *sqe, int node,
			    const struct ptn_io *io)
{
	struct p2pbuf_nvme_cmd cmd = {
		.dev_offset = io->dev,
		.id = io->id,
		.flags = io->flags,
	};

	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, node,
			 (void *)(uintptr_t)io->buf, io->len, 0);
	sqe->cmd_op = io->op;
	memcpy(sqe->cmd, &cmd, sizeof(cmd));
}

/* The next SQE, with the queue submitted when it is full. */
static inline struct io_uring_sqe *ptn_sqe(struct io_uring *ring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	while (!sqe) {
		io_uring_submit(ring);
		sqe = io_uring_get_sqe(ring);
	}
	return sqe;
}

/* Take one completion. Returns its res; *@data gets the user_data. */
static inline int ptn_wait(struct io_uring *ring, __u64 *data)
{
	struct io_uring_cqe *cqe;
	int ret;

	if (data)
		*data = 0;
	do {
		ret = io_uring_wait_cqe(ring, &cqe);
	} while (ret == -EINTR);
	if (ret)
		return ret;
	ret = cqe->res;
	if (data)
		*data = cqe->user_data;
	io_uring_cqe_seen(ring, cqe);
	return ret;
}

/* One command, from submission to completion. Returns the CQE's res. */
static inline int ptn_io(struct io_uring *ring, int node,
			 const struct ptn_io *io)
{
	int ret;

	ptn_prep(ptn_sqe(ring), node, io);
	ret = io_uring_submit(ring);
	if (ret < 0)
		return ret;
	return ptn_wait(ring, NULL);
}

static inline int ptn_read(struct io_uring *ring, int node, __u32 id,
			   __u64 buf, __u64 dev, __u32 len)
{
	struct ptn_io io = {
		.op = PTN_READ, .id = id, .buf = buf, .dev = dev, .len = len,
	};

	return ptn_io(ring, node, &io);
}

static inline int ptn_write(struct io_uring *ring, int node, __u32 id,
			    __u64 buf, __u64 dev, __u32 len)
{
	struct ptn_io io = {
		.op = PTN_WRITE, .id = id, .buf = buf, .dev = dev, .len = len,
	};

	return ptn_io(ring, node, &io);
}

#endif /* P2PBUF_TEST_NVME_H */
