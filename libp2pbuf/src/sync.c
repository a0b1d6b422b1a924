// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Order between CPU, devices and processes: what the dma-buf itself offers. */

#include <linux/dma-buf.h>

#include "internal.h"

_Static_assert(P2PBUF_READ == DMA_BUF_SYNC_READ, "same bits as the kernel's");
_Static_assert(P2PBUF_WRITE == DMA_BUF_SYNC_WRITE, "same bits as the kernel's");

static bool access_valid(uint32_t access)
{
	return access && !(access & ~DMA_BUF_SYNC_RW);
}

static int cpu_access(struct p2pbuf_buffer *buf, uint32_t access, uint64_t edge)
{
	struct dma_buf_sync sync = { .flags = access | edge };

	if (!access_valid(access))
		return -EINVAL;
	return p2pbuf_ioctl(buf->fd, DMA_BUF_IOCTL_SYNC, &sync);
}

int p2pbuf_sync_begin(struct p2pbuf_buffer *buf, uint32_t access)
{
	return cpu_access(buf, access, DMA_BUF_SYNC_START);
}

int p2pbuf_sync_end(struct p2pbuf_buffer *buf, uint32_t access)
{
	return cpu_access(buf, access, DMA_BUF_SYNC_END);
}

int p2pbuf_export_sync_file(struct p2pbuf_buffer *buf, uint32_t access)
{
	struct dma_buf_export_sync_file args = { .flags = access, .fd = -1 };
	int ret;

	if (!access_valid(access))
		return -EINVAL;
	ret = p2pbuf_ioctl(buf->fd, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &args);
	return ret < 0 ? ret : args.fd;
}

int p2pbuf_import_sync_file(struct p2pbuf_buffer *buf, uint32_t access, int fd)
{
	struct dma_buf_import_sync_file args = { .flags = access, .fd = fd };

	if (!access_valid(access))
		return -EINVAL;
	return p2pbuf_ioctl(buf->fd, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &args);
}
