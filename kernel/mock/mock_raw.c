// SPDX-License-Identifier: GPL-2.0
/*
 * Raw importer: what other drivers' importers are like, the bad ones included.
 * It does no I/O; its business is to map, to pin, and to unmap late or never.
 */
#include <linux/slab.h>

#include "mock.h"

/**
 * struct mock_raw - an importer
 * @obj: queued @work holds a reference
 * @dmabuf: the buffer
 * @dev: the device
 * @attach: the attachment
 * @lazy: unmap only when told
 * @unmap_ms: how long after an invalidation to unmap
 * @work: unmaps
 * @sgt: the mapping, or NULL
 * @stale: it was invalidated
 * @pinned: how often
 * @invalidations: how often
 *
 * From @sgt on under the resv.
 */
struct mock_raw {
	struct mock_object obj;
	struct dma_buf *dmabuf;
	struct device *dev;
	struct dma_buf_attachment *attach;
	bool lazy;
	u32 unmap_ms;
	struct delayed_work work;

	struct sg_table *sgt;
	bool stale;
	u32 pinned;
	u32 invalidations;
};

static void mock_raw_unmap_locked(struct mock_raw *raw)
{
	dma_resv_assert_held(raw->dmabuf->resv);

	if (raw->sgt)
		dma_buf_unmap_attachment(raw->attach, raw->sgt,
					 DMA_BIDIRECTIONAL);
	raw->sgt = NULL;
	raw->stale = false;
}

static void mock_raw_unmap_work(struct work_struct *work)
{
	struct mock_raw *raw = container_of(to_delayed_work(work),
					    struct mock_raw, work);

	dma_resv_lock(raw->dmabuf->resv, NULL);
	if (raw->stale)
		mock_raw_unmap_locked(raw);
	dma_resv_unlock(raw->dmabuf->resv);
	mock_object_put(&raw->obj);
}

static void mock_raw_invalidate(struct dma_buf_attachment *attach)
{
	struct mock_raw *raw = attach->importer_priv;

	dma_resv_assert_held(attach->dmabuf->resv);

	raw->invalidations++;
	if (!raw->sgt || raw->stale)
		return;
	raw->stale = true;
	if (raw->lazy)
		return;
	mock_object_get(&raw->obj);
	if (!queue_delayed_work(mock_wq, &raw->work,
				msecs_to_jiffies(raw->unmap_ms)))
		mock_object_put(&raw->obj);
}

/* By P2PBUF_MOCK_P2P and whether it listens. */
static const struct dma_buf_attach_ops mock_raw_ops[2][2] = {
	{ {}, { .invalidate_mappings = mock_raw_invalidate } },
	{ { .allow_peer2peer = true },
	  { .allow_peer2peer = true,
	    .invalidate_mappings = mock_raw_invalidate } },
};

static void mock_raw_close(struct mock_object *obj)
{
	struct mock_raw *raw = container_of(obj, struct mock_raw, obj);

	if (cancel_delayed_work(&raw->work))
		mock_object_put(&raw->obj);
}

static void mock_raw_release(struct mock_object *obj)
{
	struct mock_raw *raw = container_of(obj, struct mock_raw, obj);

	dma_resv_lock(raw->dmabuf->resv, NULL);
	mock_raw_unmap_locked(raw);
	while (raw->pinned) {
		dma_buf_unpin(raw->attach);
		raw->pinned--;
	}
	dma_resv_unlock(raw->dmabuf->resv);
	/* A last invalidation found nothing mapped and queued nothing. */
	dma_buf_detach(raw->dmabuf, raw->attach);
	put_device(raw->dev);
	dma_buf_put(raw->dmabuf);
	kfree(raw);
}

static int mock_raw_attach(struct mock_raw *raw,
			   const struct p2pbuf_mock_import *arg)
{
	const struct dma_buf_attach_ops *ops = NULL;

	if (arg->kind != P2PBUF_MOCK_PINNED)
		ops = &mock_raw_ops[!!(arg->flags & P2PBUF_MOCK_P2P)]
				   [arg->kind == P2PBUF_MOCK_NOTIFIED];
	raw->attach = dma_buf_dynamic_attach(raw->dmabuf, raw->dev, ops, raw);
	return PTR_ERR_OR_ZERO(raw->attach);
}

int mock_raw_create(struct mock_file *file, struct p2pbuf_mock_import *arg)
{
	struct mock_raw *raw;
	int ret;

	raw = kzalloc_obj(*raw);
	if (!raw)
		return -ENOMEM;
	raw->lazy = arg->flags & P2PBUF_MOCK_LAZY;
	raw->unmap_ms = arg->unmap_ms;
	INIT_DELAYED_WORK(&raw->work, mock_raw_unmap_work);
	raw->dmabuf = dma_buf_get(arg->fd);
	if (IS_ERR(raw->dmabuf)) {
		ret = PTR_ERR(raw->dmabuf);
		goto free_raw;
	}
	ret = -ENODEV;
	raw->dev = mock_device_get_importer(arg->device);
	if (!raw->dev)
		goto put_buffer;
	ret = mock_device_set_bits(raw->dev, arg->dma_bits);
	if (!ret)
		ret = mock_raw_attach(raw, arg);
	if (ret)
		goto put_device;
	mock_object_init(&raw->obj, MOCK_RAW, mock_raw_close,
			 mock_raw_release);
	return mock_file_add(file, &raw->obj, &arg->id);

put_device:
	put_device(raw->dev);
put_buffer:
	dma_buf_put(raw->dmabuf);
free_raw:
	kfree(raw);
	return ret;
}

static int mock_raw_map_locked(struct mock_raw *raw)
{
	struct sg_table *sgt;

	mock_raw_unmap_locked(raw);
	sgt = dma_buf_map_attachment(raw->attach, DMA_BIDIRECTIONAL);
	if (IS_ERR(sgt))
		return PTR_ERR(sgt);
	raw->sgt = sgt;
	return 0;
}

static int mock_raw_pin_locked(struct mock_raw *raw, bool pin)
{
	int ret = 0;

	/* What is not dynamic is pinned by being mapped. */
	if (!raw->attach->importer_ops || (!pin && !raw->pinned))
		return -EINVAL;
	if (pin)
		ret = dma_buf_pin(raw->attach);
	else
		dma_buf_unpin(raw->attach);
	if (!ret)
		raw->pinned += pin ? 1 : -1;
	return ret;
}

int mock_raw_call(struct mock_object *obj, unsigned int cmd)
{
	struct mock_raw *raw = container_of(obj, struct mock_raw, obj);
	int ret;

	ret = mock_resv_lock(raw->dmabuf->resv);
	if (ret)
		return ret;
	switch (cmd) {
	case P2PBUF_MOCK_MAP:
		ret = mock_raw_map_locked(raw);
		break;
	case P2PBUF_MOCK_UNMAP:
		mock_raw_unmap_locked(raw);
		break;
	case P2PBUF_MOCK_PIN:
	case P2PBUF_MOCK_UNPIN:
		ret = mock_raw_pin_locked(raw, cmd == P2PBUF_MOCK_PIN);
		break;
	default:
		ret = -EINVAL;
	}
	dma_resv_unlock(raw->dmabuf->resv);
	return ret;
}

int mock_raw_info(struct mock_object *obj, struct p2pbuf_mock_import_info *arg)
{
	struct mock_raw *raw = container_of(obj, struct mock_raw, obj);

	dma_resv_lock(raw->dmabuf->resv, NULL);
	arg->mapped = raw->sgt && !raw->stale;
	arg->invalidations = raw->invalidations;
	dma_resv_unlock(raw->dmabuf->resv);
	return 0;
}
