// SPDX-License-Identifier: GPL-2.0
/*
 * Test only: a path verdict on demand, and exporters that lie.
 *
 * JUDGE attaches a PCI function to a dma-buf as an importer would, maps, asks
 * p2pbuf_path_judge(), and undoes it all before the resv is released; no DMA
 * is started, so whatever the addresses are, nothing is hit.
 *
 * MAKE makes a dma-buf out of segments whose DMA addresses the test chooses:
 * real ones, through the DMA API, or raw numbers. A segment behind an IOMMU
 * can have a hole, a page that was never entered into the page table. That is
 * what exporters get wrong in the field, made reproducible.
 *
 * DISCONNECT says of a PCI function what a hot plug port does that sees no card.
 *
 * FREEZE and THAW are the two halves of error recovery: between them the driver
 * may not touch the function, and nobody holds its lock.
 */
#include <linux/capability.h>
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/timex.h>
#include <linux/uaccess.h>

#include "p2pbuf_compat.h"
#include "p2pbuf_core.h"
#include "p2pbuf_probe.h"

/**
 * struct probe_buf - a dma-buf made by MAKE
 * @nr: number of segments
 * @segment: what the test asked for
 * @pages: memory of the RAM segments, else NULL
 */
struct probe_buf {
	u32 nr;
	struct p2pbuf_probe_segment segment[P2PBUF_PROBE_SEGMENTS];
	struct page *pages[P2PBUF_PROBE_SEGMENTS];
};

/**
 * struct probe_map - one mapping of it
 * @sgt: what the importer gets
 * @iova: IOVA range of each segment that went through an IOMMU
 */
struct probe_map {
	struct sg_table sgt;
	struct dma_iova_state iova[P2PBUF_PROBE_SEGMENTS];
};

static bool probe_is_raw(const struct p2pbuf_probe_segment *seg)
{
	return seg->kind == P2PBUF_PROBE_RAW ||
	       seg->kind == P2PBUF_PROBE_RAM_RAW;
}

static unsigned long probe_attrs(const struct p2pbuf_probe_segment *seg)
{
	return seg->kind == P2PBUF_PROBE_MMIO ? DMA_ATTR_MMIO : 0;
}

/* Bytes before the hole; all of them when there is none. */
static u32 probe_head(const struct p2pbuf_probe_segment *seg)
{
	return seg->hole == P2PBUF_PROBE_NO_HOLE ? seg->len :
						   seg->hole * PAGE_SIZE;
}

/* Bytes after the hole. */
static u32 probe_tail(const struct p2pbuf_probe_segment *seg)
{
	return seg->hole == P2PBUF_PROBE_NO_HOLE ? 0 :
						   seg->len - probe_head(seg) - PAGE_SIZE;
}

static void probe_unlink(struct device *dev, struct dma_iova_state *iova,
			 const struct p2pbuf_probe_segment *seg)
{
	if (probe_tail(seg))
		dma_iova_unlink(dev, iova, probe_head(seg) + PAGE_SIZE,
				probe_tail(seg), DMA_BIDIRECTIONAL,
				probe_attrs(seg));
	if (probe_head(seg))
		dma_iova_unlink(dev, iova, 0, probe_head(seg),
				DMA_BIDIRECTIONAL, probe_attrs(seg));
	dma_iova_free(dev, iova);
}

/* Two stretches of one IOVA range, with the hole between them. */
static int probe_link(struct device *dev, struct dma_iova_state *iova,
		      const struct p2pbuf_probe_segment *seg, phys_addr_t phys)
{
	u32 head = probe_head(seg), tail = probe_tail(seg);
	int ret = 0;

	if (head)
		ret = dma_iova_link(dev, iova, phys, 0, head,
				    DMA_BIDIRECTIONAL, probe_attrs(seg));
	if (ret)
		goto free_iova;
	if (tail)
		ret = dma_iova_link(dev, iova, phys + head + PAGE_SIZE,
				    head + PAGE_SIZE, tail, DMA_BIDIRECTIONAL,
				    probe_attrs(seg));
	if (ret)
		goto unlink_head;
	ret = dma_iova_sync(dev, iova, 0, seg->len);
	if (ret)
		probe_unlink(dev, iova, seg);
	return ret;

unlink_head:
	if (head)
		dma_iova_unlink(dev, iova, 0, head, DMA_BIDIRECTIONAL,
				probe_attrs(seg));
free_iova:
	dma_iova_free(dev, iova);
	return ret;
}

static int probe_map_segment(struct device *dev, struct probe_buf *buf, u32 i,
			     struct probe_map *map, dma_addr_t *addr)
{
	const struct p2pbuf_probe_segment *seg = &buf->segment[i];
	phys_addr_t phys = buf->pages[i] ? page_to_phys(buf->pages[i]) :
					   seg->addr;
	struct dma_iova_state *iova = &map->iova[i];

	if (probe_is_raw(seg)) {
		*addr = phys;
		return 0;
	}

	/* Never with swiotlb: this way of mapping does not bounce pages. */
	if (dma_iova_try_alloc(dev, iova, 0, seg->len)) {
		int ret = probe_link(dev, iova, seg, phys);

		*addr = iova->addr;
		return ret;
	}

	if (seg->hole != P2PBUF_PROBE_NO_HOLE)
		return -EOPNOTSUPP;
	*addr = dma_map_phys(dev, phys, seg->len, DMA_BIDIRECTIONAL,
			     probe_attrs(seg));
	return dma_mapping_error(dev, *addr);
}

static void probe_unmap_segment(struct device *dev, struct probe_buf *buf,
				u32 i, struct probe_map *map, dma_addr_t addr)
{
	const struct p2pbuf_probe_segment *seg = &buf->segment[i];

	if (probe_is_raw(seg))
		return;
	if (dma_use_iova(&map->iova[i]))
		probe_unlink(dev, &map->iova[i], seg);
	else
		dma_unmap_phys(dev, addr, seg->len, DMA_BIDIRECTIONAL,
			       probe_attrs(seg));
}

static struct sg_table *probe_dmabuf_map(struct dma_buf_attachment *attach,
					 enum dma_data_direction dir)
{
	struct probe_buf *buf = attach->dmabuf->priv;
	struct scatterlist *sg;
	struct probe_map *map;
	dma_addr_t addr;
	u32 i;
	int ret;

	map = kzalloc_obj(*map);
	if (!map)
		return ERR_PTR(-ENOMEM);
	ret = sg_alloc_table(&map->sgt, buf->nr, GFP_KERNEL);
	if (ret)
		goto free_map;

	for_each_sg(map->sgt.sgl, sg, buf->nr, i) {
		ret = probe_map_segment(attach->dev, buf, i, map, &addr);
		if (ret)
			goto unmap;
		sg_dma_address(sg) = addr;
		sg_dma_len(sg) = buf->segment[i].len;
	}
	return &map->sgt;

unmap:
	while (i--)
		probe_unmap_segment(attach->dev, buf, i, map,
				    sg_dma_address(&map->sgt.sgl[i]));
	sg_free_table(&map->sgt);
free_map:
	kfree(map);
	return ERR_PTR(ret);
}

static void probe_dmabuf_unmap(struct dma_buf_attachment *attach,
			       struct sg_table *sgt,
			       enum dma_data_direction dir)
{
	struct probe_map *map = container_of(sgt, struct probe_map, sgt);
	struct probe_buf *buf = attach->dmabuf->priv;
	u32 i;

	for (i = 0; i < buf->nr; i++)
		probe_unmap_segment(attach->dev, buf, i, map,
				    sg_dma_address(&sgt->sgl[i]));
	sg_free_table(sgt);
	kfree(map);
}

static void probe_buf_free(struct probe_buf *buf)
{
	u32 i;

	for (i = 0; i < buf->nr; i++)
		if (buf->pages[i])
			__free_pages(buf->pages[i],
				     get_order(buf->segment[i].len));
	kfree(buf);
}

static void probe_dmabuf_release(struct dma_buf *dmabuf)
{
	probe_buf_free(dmabuf->priv);
}

static const struct dma_buf_ops probe_dmabuf_ops = {
	.map_dma_buf = probe_dmabuf_map,
	.unmap_dma_buf = probe_dmabuf_unmap,
	.release = probe_dmabuf_release,
};

static int probe_buf_add(struct probe_buf *buf,
			 const struct p2pbuf_probe_segment *seg)
{
	struct page *pages = NULL;
	bool ram = seg->kind == P2PBUF_PROBE_RAM ||
		   seg->kind == P2PBUF_PROBE_RAM_RAW;

	if (seg->kind > P2PBUF_PROBE_RAM_RAW || seg->pad || !seg->len)
		return -EINVAL;
	if (ram && (seg->addr || seg->len > P2PBUF_PROBE_RAM_MAX))
		return -EINVAL;
	if (!probe_is_raw(seg) && !IS_ALIGNED(seg->addr | seg->len, PAGE_SIZE))
		return -EINVAL;
	if (seg->hole != P2PBUF_PROBE_NO_HOLE &&
	    (probe_is_raw(seg) || seg->hole >= seg->len / PAGE_SIZE))
		return -EINVAL;

	if (ram) {
		pages = alloc_pages(GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN,
				    get_order(seg->len));
		if (!pages)
			return -ENOMEM;
	}
	buf->segment[buf->nr] = *seg;
	buf->pages[buf->nr] = pages;
	buf->nr++;
	return 0;
}

static int probe_make(struct p2pbuf_probe_make *arg)
{
	DEFINE_DMA_BUF_EXPORT_INFO(exp);
	struct dma_buf *dmabuf;
	struct probe_buf *buf;
	u64 total = 0;
	u32 i;
	int ret;

	if (!arg->nr || arg->nr > P2PBUF_PROBE_SEGMENTS)
		return -EINVAL;
	buf = kzalloc_obj(*buf);
	if (!buf)
		return -ENOMEM;
	for (i = 0; i < arg->nr; i++) {
		ret = probe_buf_add(buf, &arg->segment[i]);
		if (ret)
			goto free_buf;
		total += arg->segment[i].len;
	}

	exp.ops = &probe_dmabuf_ops;
	exp.size = arg->size ?: total;
	exp.flags = O_RDWR | O_CLOEXEC;
	exp.priv = buf;
	dmabuf = dma_buf_export(&exp);
	if (IS_ERR(dmabuf)) {
		ret = PTR_ERR(dmabuf);
		goto free_buf;
	}

	/* From here on @buf belongs to the dma-buf, and that to the fd. */
	ret = dma_buf_fd(dmabuf, O_CLOEXEC);
	if (ret < 0) {
		dma_buf_put(dmabuf);
		return ret;
	}
	arg->fd = ret;
	return 0;

free_buf:
	probe_buf_free(buf);
	return ret;
}

/* Mapping and verdict are one critical section of the resv: nothing to end. */
static void probe_invalidate(struct dma_buf_attachment *attach)
{
}

static const struct dma_buf_attach_ops probe_attach_p2p = {
	.allow_peer2peer = true,
	.invalidate_mappings = probe_invalidate,
};

static const struct dma_buf_attach_ops probe_attach_no_p2p = {
	.invalidate_mappings = probe_invalidate,
};

static int probe_map_and_judge(struct dma_buf_attachment *attach,
			       struct p2pbuf_probe_judge *arg)
{
	struct sg_table *sgt;
	cycles_t start;
	long left;

	dma_resv_assert_held(attach->dmabuf->resv);

	sgt = dma_buf_map_attachment(attach, DMA_BIDIRECTIONAL);
	if (IS_ERR(sgt))
		return PTR_ERR(sgt);
	left = dma_resv_wait_timeout(attach->dmabuf->resv,
				     DMA_RESV_USAGE_KERNEL, true,
				     MAX_SCHEDULE_TIMEOUT);
	if (left > 0) {
		arg->segments = sgt->nents;
		start = get_cycles();
		arg->verdict = p2pbuf_path_judge(attach, sgt, &arg->info);
		arg->cycles = get_cycles() - start;
	}
	dma_buf_unmap_attachment(attach, sgt, DMA_BIDIRECTIONAL);
	return left < 0 ? left : 0;
}

static int probe_attach_and_judge(struct dma_buf *dmabuf, struct device *dev,
				  struct p2pbuf_probe_judge *arg)
{
	struct dma_buf_attachment *attach;
	int ret;

	attach = dma_buf_dynamic_attach(dmabuf, dev, arg->no_p2p ?
					&probe_attach_no_p2p :
					&probe_attach_p2p, NULL);
	if (IS_ERR(attach))
		return PTR_ERR(attach);
	ret = dma_resv_lock_interruptible(dmabuf->resv, NULL);
	if (!ret) {
		ret = probe_map_and_judge(attach, arg);
		dma_resv_unlock(dmabuf->resv);
	}
	dma_buf_detach(dmabuf, attach);
	return ret;
}

/* With a reference, or NULL. */
static struct pci_dev *probe_function(u32 id)
{
	return pci_get_domain_bus_and_slot(id >> 16, PCI_BUS_NUM(id),
					   id & 0xff);
}

static int probe_judge(struct p2pbuf_probe_judge *arg)
{
	struct dma_buf *dmabuf;
	struct pci_dev *pdev;
	int ret = 0;

	if (arg->no_p2p > 1)
		return -EINVAL;
	pdev = probe_function(arg->importer);
	if (!pdev)
		return -ENODEV;
	dmabuf = dma_buf_get(arg->fd);
	if (IS_ERR(dmabuf)) {
		ret = PTR_ERR(dmabuf);
		goto put_pdev;
	}

	memset(&arg->info, 0, sizeof(arg->info));
	/* Whoever drives the function keeps doing so while we borrow it. */
	device_lock(&pdev->dev);
	arg->mapped = probe_attach_and_judge(dmabuf, &pdev->dev, arg);
	device_unlock(&pdev->dev);
	strscpy_pad(arg->path, p2pbuf_path_name(arg->info.path));
	strscpy_pad(arg->reason, p2pbuf_reason_text(arg->info.reason));

	dma_buf_put(dmabuf);
put_pdev:
	pci_dev_put(pdev);
	return ret;
}

static long probe_ioctl_make(void __user *argp)
{
	struct p2pbuf_probe_make arg;
	int ret;

	if (copy_from_user(&arg, argp, sizeof(arg)))
		return -EFAULT;
	ret = probe_make(&arg);
	/* A test that cannot be told its fd is gone anyway. */
	if (!ret && copy_to_user(argp, &arg, sizeof(arg)))
		ret = -EFAULT;
	return ret;
}

static long probe_ioctl_judge(void __user *argp)
{
	struct p2pbuf_probe_judge arg;
	int ret;

	if (copy_from_user(&arg, argp, sizeof(arg)))
		return -EFAULT;
	ret = probe_judge(&arg);
	if (!ret && copy_to_user(argp, &arg, sizeof(arg)))
		ret = -EFAULT;
	return ret;
}

/* As pci_dev_set_disconnected() does, which is the PCI core's own. */
static int probe_disconnect(struct pci_dev *pdev)
{
	xchg(&pdev->error_state, pci_channel_io_perm_failure);
	return 0;
}

static const struct pci_error_handlers *probe_handlers(struct pci_dev *pdev)
{
	device_lock_assert(&pdev->dev);

	return pdev->driver ? pdev->driver->err_handler : NULL;
}

/* As report_error_detected() of the PCI core. */
static int probe_freeze(struct pci_dev *pdev)
{
	const struct pci_error_handlers *handlers;
	int ret = -EOPNOTSUPP;

	device_lock(&pdev->dev);
	handlers = probe_handlers(pdev);
	if (handlers && handlers->error_detected) {
		xchg(&pdev->error_state, pci_channel_io_frozen);
		ret = handlers->error_detected(pdev, pci_channel_io_frozen) ==
		      PCI_ERS_RESULT_NEED_RESET ? 0 : -EIO;
	}
	device_unlock(&pdev->dev);
	return ret;
}

/* As report_slot_reset() and report_resume(). */
static int probe_thaw(struct pci_dev *pdev)
{
	const struct pci_error_handlers *handlers;
	int ret = -EOPNOTSUPP;

	device_lock(&pdev->dev);
	handlers = probe_handlers(pdev);
	if (handlers && handlers->slot_reset && handlers->resume) {
		xchg(&pdev->error_state, pci_channel_io_normal);
		ret = handlers->slot_reset(pdev) ==
		      PCI_ERS_RESULT_RECOVERED ? 0 : -EIO;
		handlers->resume(pdev);
	}
	device_unlock(&pdev->dev);
	return ret;
}

static long probe_ioctl_function(void __user *argp,
				 int (*fn)(struct pci_dev *pdev))
{
	struct pci_dev *pdev;
	u32 id;
	int ret;

	if (copy_from_user(&id, argp, sizeof(id)))
		return -EFAULT;
	pdev = probe_function(id);
	if (!pdev)
		return -ENODEV;
	ret = fn(pdev);
	pci_dev_put(pdev);
	return ret;
}

static long probe_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case P2PBUF_PROBE_MAKE:
		return probe_ioctl_make((void __user *)arg);
	case P2PBUF_PROBE_JUDGE:
		return probe_ioctl_judge((void __user *)arg);
	case P2PBUF_PROBE_DISCONNECT:
		return probe_ioctl_function((void __user *)arg,
					    probe_disconnect);
	case P2PBUF_PROBE_FREEZE:
		return probe_ioctl_function((void __user *)arg, probe_freeze);
	case P2PBUF_PROBE_THAW:
		return probe_ioctl_function((void __user *)arg, probe_thaw);
	default:
		return -ENOTTY;
	}
}

static int probe_open(struct inode *inode, struct file *file)
{
	return capable(CAP_SYS_RAWIO) ? 0 : -EPERM;
}

static const struct file_operations probe_fops = {
	.owner = THIS_MODULE,
	.open = probe_open,
	.unlocked_ioctl = probe_ioctl,
};

static struct miscdevice probe_miscdev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "p2pbuf-probe",
	.fops = &probe_fops,
	.mode = 0600,
};
module_misc_device(probe_miscdev);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("p2pbuf path verdict on demand (test only)");
MODULE_IMPORT_NS("DMA_BUF");
