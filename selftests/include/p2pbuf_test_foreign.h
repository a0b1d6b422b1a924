/* SPDX-License-Identifier: GPL-2.0 */
/* Dma-bufs of host memory, from exporters that are none of ours. */
#ifndef P2PBUF_TEST_FOREIGN_H
#define P2PBUF_TEST_FOREIGN_H

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <linux/dma-heap.h>
#include <linux/udmabuf.h>

/* Memory as udmabuf wants it; a file or -errno. */
static inline int ptk_memfd(size_t size)
{
	int fd = memfd_create("p2pbuf-test", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	int ret;

	if (fd < 0)
		return -errno;
	if (!ftruncate(fd, size) && !fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK))
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

/* Of the first @size bytes of @memfd; a dma-buf or -errno. */
static inline int ptk_udmabuf_of(int memfd, size_t size)
{
	struct udmabuf_create create = {
		.memfd = memfd,
		.flags = UDMABUF_FLAGS_CLOEXEC,
		.size = size,
	};
	int device = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	int ret;

	if (device < 0)
		return -errno;
	ret = ioctl(device, UDMABUF_CREATE, &create);
	if (ret < 0)
		ret = -errno;
	close(device);
	return ret;
}

/* A dma-buf or -errno. */
static inline int ptk_udmabuf(size_t size)
{
	int memfd = ptk_memfd(size);
	int ret;

	if (memfd < 0)
		return memfd;
	ret = ptk_udmabuf_of(memfd, size);
	close(memfd);
	return ret;
}

/* @mode: O_RDONLY, O_WRONLY or O_RDWR; a dma-buf or -errno. */
static inline int ptk_heap(size_t size, int mode)
{
	struct dma_heap_allocation_data data = {
		.len = size,
		.fd_flags = mode | O_CLOEXEC,
	};
	int heap = open("/dev/dma_heap/system", O_RDWR | O_CLOEXEC);
	int ret;

	if (heap < 0)
		return -errno;
	ret = ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data) ? -errno :
							 (int)data.fd;
	close(heap);
	return ret;
}

#endif /* P2PBUF_TEST_FOREIGN_H */
