// SPDX-License-Identifier: GPL-2.0
/* dma-buf descriptors, and exporters that are not ours. */
#include <poll.h>
#include <linux/dma-buf.h>

#include "fuzz.h"

static void dmabuf_sync(struct fz_worker *w)
{
	struct dma_buf_sync arg = { .flags = fz_below(&w->rng, 8) };

	if (fz_once_in(&w->rng, 16))
		arg.flags = fz_edge(&w->rng);
	fz_done(w, "DMA_BUF_SYNC",
		ptx_ioctl(fz_any_cpu_buf(w), DMA_BUF_IOCTL_SYNC, &arg), NULL);
}

static void dmabuf_name(struct fz_worker *w)
{
	char name[64] = "fuzz";
	bool b = fz_once_in(&w->rng, 2);

	if (fz_once_in(&w->rng, 2))
		memset(name, 'x', fz_below(&w->rng, sizeof(name)));
	fz_done(w, "DMA_BUF_SET_NAME",
		ptx_ioctl(fz_any_buf(w), b ? DMA_BUF_SET_NAME_B :
					     DMA_BUF_SET_NAME_A,
			  fz_place(w, name, sizeof(name))), NULL);
}

/* A fence out of one buffer and into another. */
static void dmabuf_fences(struct fz_worker *w)
{
	struct dma_buf_export_sync_file out = {
		.flags = fz_below(&w->rng, 4), .fd = -1,
	};
	struct dma_buf_import_sync_file in = { .flags = fz_below(&w->rng, 4) };

	fz_done(w, "EXPORT_SYNC_FILE",
		ptx_ioctl(fz_any_buf(w), DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &out),
		NULL);
	in.fd = out.fd >= 0 ? out.fd : fz_junk_fd(w);
	fz_done(w, "IMPORT_SYNC_FILE",
		ptx_ioctl(fz_any_buf(w), DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &in),
		NULL);
	if (out.fd >= 0)
		close(out.fd);
}

static void dmabuf_look(struct fz_worker *w)
{
	struct pollfd poll_fd = {
		.fd = fz_any_buf(w), .events = fz_next(&w->rng),
	};
	int fd = poll_fd.fd;

	switch (fz_below(&w->rng, 3)) {
	case 0:
		fz_done(w, "poll", poll(&poll_fd, 1, 0) < 0 ? -errno : 0, NULL);
		break;
	case 1:
		fz_done(w, "lseek", lseek(fd, fz_edge(&w->rng),
					  fz_below(&w->rng, 5)) < 0 ?
					  -errno : 0, NULL);
		break;
	default:
		fz_done(w, "dma-buf, other",
			ioctl(fd, _IOWR(DMA_BUF_BASE, fz_below(&w->rng, 16),
					__u64[2]),
			      w->arena) ? -errno : 0, NULL);
	}
}

/* A buffer of somebody else's into one of the places. */
static void dmabuf_foreign(struct fz_worker *w)
{
	enum ptn_kind kind = fz_once_in(&w->rng, 2) ? PTN_UDMABUF : PTN_HEAP;
	struct ptn_buffer b;
	int ret;

	ret = ptn_buffer_alloc(&b, kind, (1 + fz_below(&w->rng, 32)) * PTN_PAGE);
	fz_done(w, "foreign buffer", ret, NULL);
	if (ret)
		return;
	fz_keep_buf(w, b.dmabuf, kind == PTN_UDMABUF);
	b.dmabuf = -1;
	ptn_buffer_free(&b);
}

static void dmabuf_close(struct fz_worker *w)
{
	unsigned int slot = FZ_COMMON + fz_below(&w->rng, FZ_BUFS - FZ_COMMON);

	if (w->buf[slot] >= 0)
		close(w->buf[slot]);
	w->buf[slot] = -1;
}

void fz_dmabuf(struct fz_worker *w)
{
	switch (fz_below(&w->rng, 16)) {
	case 0 ... 4:
		return dmabuf_sync(w);
	case 5:
		return dmabuf_name(w);
	case 6 ... 8:
		return dmabuf_fences(w);
	case 9:
		return dmabuf_foreign(w);
	case 10:
		return dmabuf_close(w);
	default:
		return dmabuf_look(w);
	}
}
