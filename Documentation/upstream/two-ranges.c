// SPDX-License-Identifier: GPL-2.0
/*
 * two-ranges GROUP DEVICE DISK: a dma-buf of a BAR by vfio-pci, of one range
 * and then of two that do not touch, bound to a namespace each time.
 *
 * Shows the first bug of ../kernel-bugs.rst; two-ranges.sh prepares the guest.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/vfio.h>

#include <linux/p2pbuf_nvme.h>

#define PAGE	4096ull
#define FEATURE_DMA_BUF	11	/* younger than the headers of the build root */

struct range {
	__u64 offset;
	__u64 length;
};

struct request {
	struct vfio_device_feature head;
	__u32 region;
	__u32 open_flags;
	__u32 flags;
	__u32 nr_ranges;
	struct range ranges[2];
};

static void must(const char *what, int ret)
{
	if (ret >= 0)
		return;
	printf("%s: %s\n", what, strerrorname_np(errno));
	exit(1);
}

static int device_open(const char *group_path, const char *name)
{
	int container = open("/dev/vfio/vfio", O_RDWR), group, device;

	must("container", container);
	group = open(group_path, O_RDWR);
	must(group_path, group);
	must("join", ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
	must("type 1", ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name);
	must(name, device);
	return device;
}

/* BAR 2: every other page of it. */
static void try(int device, int disk, unsigned int ranges)
{
	struct request r = {
		.head.argsz = sizeof(r),
		.head.flags = VFIO_DEVICE_FEATURE_GET | FEATURE_DMA_BUF,
		.region = VFIO_PCI_BAR2_REGION_INDEX,
		.open_flags = O_RDWR | O_CLOEXEC,
		.nr_ranges = ranges,
		.ranges = { { 0, PAGE }, { 2 * PAGE, PAGE } },
	};
	struct p2pbuf_nvme_bind bind = { .size = sizeof(bind), .bdev_fd = disk };
	int node = open("/dev/p2pbuf-nvme", O_RDWR | O_CLOEXEC), ret;

	must("/dev/p2pbuf-nvme", node);
	bind.dmabuf_fd = ioctl(device, VFIO_DEVICE_FEATURE, &r);
	must("dma-buf", bind.dmabuf_fd);
	ret = ioctl(node, P2PBUF_NVME_BIND, &bind);
	printf("%u range%s: %s\n", ranges, ranges > 1 ? "s" : "",
	       ret ? strerrorname_np(errno) : "bound");
	close(node);
	close(bind.dmabuf_fd);
}

int main(int argc, char **argv)
{
	int device, disk;

	if (argc != 4)
		return 2;
	device = device_open(argv[1], argv[2]);
	disk = open(argv[3], O_RDWR | O_CLOEXEC);
	must(argv[3], disk);
	try(device, disk, 1);
	try(device, disk, 2);
	return 0;
}
