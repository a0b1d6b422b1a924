// SPDX-License-Identifier: GPL-2.0
/* The drive, the VRAM object bound to it, and the buffers in host memory. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/fs.h>
#include <linux/nvme_ioctl.h>
#include <linux/p2pbuf_nvme.h>

#include "bench.h"
#include "p2pbuf_test_exporter.h"

#define PAGE	4096U
#define HUGE	(2U * MIB)

/* Any odd number: the buffer has a power of two of pages. */
#define SCATTER	2731

/* Says what went wrong and returns the errno. */
static int failed(const char *what, const char *which, int err)
{
	fprintf(stderr, "bench_nvme: %s %s: %s\n", what, which, strerror(-err));
	return err;
}

static int open_file(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	return fd < 0 ? failed("cannot open", path, -errno) : fd;
}

static int write_file(const char *path, const char *text)
{
	int fd = open_file(path, O_WRONLY);
	int ret = 0;

	if (fd < 0)
		return fd;
	if (write(fd, text, strlen(text)) < 0)
		ret = failed("cannot write to", path, -errno);
	close(fd);
	return ret;
}

/* /dev/nvme0n1 -> /dev/ng0n1, and no I/O scheduler in between. */
static int open_disk(struct bench_target *t, const char *disk)
{
	const char *name = strrchr(disk, '/');
	char path[128];
	int ret, block;

	t->disk = open_file(disk, O_RDWR | O_DIRECT);
	if (t->disk < 0)
		return t->disk;
	if (!name || strncmp(name, "/nvme", 5))
		return failed("not an NVMe namespace:", disk, -EINVAL);
	snprintf(path, sizeof(path), "/sys/block%s/queue/scheduler", name);
	ret = write_file(path, "none");
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "/dev/ng%s", name + strlen("/nvme"));
	t->ng = open_file(path, O_RDWR);
	if (t->ng < 0)
		return t->ng;
	ret = ioctl(t->ng, NVME_IOCTL_ID);
	if (ret <= 0 || ioctl(t->disk, BLKSSZGET, &block))
		return failed("cannot inspect", disk, -errno);
	t->nsid = ret;
	t->lba_shift = __builtin_ctz(block);
	return 0;
}

static int bind_vram(struct bench_target *t, int dmabuf)
{
	struct p2pbuf_nvme_bind bind = {
		.size = sizeof(bind),
		.dmabuf_fd = dmabuf,
		.bdev_fd = t->disk,
	};
	char reason[32];

	if (ioctl(t->node, P2PBUF_NVME_BIND, &bind)) {
		snprintf(reason, sizeof(reason), "reason %u", bind.path.reason);
		return failed("cannot bind VRAM to the drive:", reason, -errno);
	}
	t->binding = bind.id;
	t->max_io = bind.max_io;
	return 0;
}

static int open_vram(struct bench_target *t)
{
	struct drm_p2pbuf_gem_create object;
	int ret, dmabuf;

	t->node = open_file("/dev/p2pbuf-nvme", O_RDWR);
	if (t->node < 0)
		return t->node;
	t->exporter = ptx_open(0);
	if (t->exporter < 0)
		return failed("no", "exporter", t->exporter);
	ret = ptx_create(t->exporter, BENCH_BUFFER, P2PBUF_PLACEMENT_VRAM, 0,
			 &object);
	if (ret)
		return failed("cannot allocate", "VRAM", ret);
	t->vram = ptx_mmap(t->exporter, BENCH_BUFFER, object.mmap_offset);
	if (!t->vram)
		return failed("cannot map", "VRAM", -errno);
	dmabuf = ptx_export(t->exporter, object.handle, true);
	if (dmabuf < 0)
		return failed("cannot export", "VRAM", dmabuf);
	ret = bind_vram(t, dmabuf);
	close(dmabuf);
	return ret;
}

/* Where the kernel has put a page; needs CAP_SYS_ADMIN. */
static uint64_t page_frame(int pagemap, const char *p)
{
	uint64_t entry = 0;

	if (pread(pagemap, &entry, sizeof(entry),
		  (uintptr_t)p / PAGE * sizeof(entry)) != sizeof(entry))
		return 0;
	return entry & ((1ULL << 55) - 1);
}

static uint64_t count_runs(const char *p, size_t bytes)
{
	int pagemap = open_file("/proc/self/pagemap", O_RDONLY);
	uint64_t runs = 0, last = 0, frame;
	size_t i;

	if (pagemap < 0)
		return 0;
	for (i = 0; i < bytes; i += PAGE, last = frame) {
		frame = page_frame(pagemap, p + i);
		runs += frame != last + 1;
	}
	close(pagemap);
	return runs;
}

static char *map_memory(size_t bytes, int flags)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/*
 * Touch the pages in an order that makes no neighbours, as memory is on a
 * machine that has been up for long. What contiguous memory is worth show the
 * huge pages.
 */
static void scatter(char *p, size_t bytes)
{
	size_t i, pages = bytes / PAGE;

	for (i = 0; i < pages; i++)
		memset(p + i * SCATTER % pages * PAGE, 1, PAGE);
}

static int open_memory(struct bench_target *t)
{
	char count[16];
	int ret;

	t->pages = map_memory(BENCH_BUFFER, 0);
	if (!t->pages || madvise(t->pages, BENCH_BUFFER, MADV_NOHUGEPAGE))
		return failed("cannot map", "memory", -errno);
	scatter(t->pages, BENCH_BUFFER);
	t->pages_runs = count_runs(t->pages, BENCH_BUFFER);

	snprintf(count, sizeof(count), "%u", BENCH_BUFFER / HUGE);
	ret = write_file("/proc/sys/vm/nr_hugepages", count);
	if (ret)
		return ret;
	t->huge = map_memory(BENCH_BUFFER, MAP_HUGETLB);
	if (!t->huge)
		return failed("cannot map", "huge pages", -errno);
	memset(t->huge, 1, BENCH_BUFFER);
	return 0;
}

/**
 * bench_target_open - get everything ready
 * @t: filled
 * @disk: path of a namespace's block device; it is only read
 *
 * What was opened stays open until the process ends, also on failure.
 *
 * Return: 0 or -errno, with a message on stderr.
 */
int bench_target_open(struct bench_target *t, const char *disk)
{
	int ret;

	ret = open_disk(t, disk);
	if (!ret)
		ret = open_memory(t);
	if (!ret)
		ret = open_vram(t);
	return ret;
}
