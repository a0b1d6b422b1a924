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

#define HUGE	(2U * MIB)

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

static int open_memory(struct bench_target *t)
{
	char count[16];
	int ret;

	t->pages = bench_pages(&t->pages_runs);
	if (!t->pages)
		return failed("cannot map", "memory", -errno);

	snprintf(count, sizeof(count), "%u", BENCH_BUFFER / HUGE);
	ret = write_file("/proc/sys/vm/nr_hugepages", count);
	if (ret)
		return ret;
	t->huge = bench_memory(BENCH_BUFFER, MAP_HUGETLB);
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
