// SPDX-License-Identifier: GPL-2.0
/*
 * Test only: an importer with a real DMA engine, QEMU's edu device.
 *
 * It can be any kind of importer there is (P2PBUF_EDU_* flags). One with an
 * invalidate callback keeps the contract: while DMA runs a fence of it is on
 * the dma-buf, an invalidated mapping is not used for new DMA, and it is
 * unmapped as soon as no DMA uses it, or, when the importer is LAZY, when the
 * test says so.
 *
 * Locks, outer first: edu_lock (the list of devices, attaching), an
 * attachment's lock (one ioctl at a time, and the removal of the device), the
 * dma-buf's resv (the mapping), a device's dma_lock (its engine). The
 * invalidate callback runs with the resv held and takes nothing else.
 */
#include <linux/delay.h>
#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/iommu.h>
#include <linux/iosys-map.h>
#include <linux/iopoll.h>
#include <linux/kref.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "p2pbuf_edu.h"

static unsigned int dma_bits = 64;
module_param(dma_bits, uint, 0444);
MODULE_PARM_DESC(dma_bits, "address bits of the device (default 64)");

#define EDU_DMA_SRC		0x80
#define EDU_DMA_DST		0x88
#define EDU_DMA_COUNT		0x90
#define EDU_DMA_CMD		0x98
#define EDU_DMA_RUN		BIT(0)
#define EDU_DMA_TO_MEMORY	BIT(1)
/* The device's own memory, as the engine addresses it. */
#define EDU_BUFFER		0x40000

struct edu_device {
	struct pci_dev *pdev;
	void __iomem *regs;
	/* the engine, and page: bounce for the user's bytes */
	struct mutex dma_lock;
	void *page;
	dma_addr_t page_addr;

	struct list_head node;		/* edu_devices */
	struct list_head attachments;	/* edu_lock */
};

struct edu_file {
	struct xarray attachments;
	/* fences */
	struct mutex fences_lock;
	struct list_head fences;
	atomic_t pending;
};

struct edu_attachment {
	struct kref kref;
	struct dma_buf *dmabuf;
	u32 flags;
	struct list_head node;		/* edu_lock */

	/* one ioctl at a time, or the removal of the device */
	struct mutex lock;
	struct edu_device *edu;
	struct dma_buf_attachment *attach;	/* NULL: the device is gone */
	struct iosys_map vmap;
	bool pinned;

	/* resv */
	struct sg_table *sgt;
	bool stale;
	unsigned int users;
	u32 invalidations;
};

/* Signals after a time; kept by the file, so that it ends before the module. */
struct edu_fence {
	struct list_head node;
	struct delayed_work work;
	struct dma_fence *fence;
	atomic_t *pending;
};

static DEFINE_MUTEX(edu_lock);
static LIST_HEAD(edu_devices);
static u64 edu_fence_context;
static atomic64_t edu_fence_seqno;

static const char *edu_fence_name(struct dma_fence *fence)
{
	return "p2pbuf_edu";
}

/* No release and no wait: a fence that has signalled is independent of us. */
static const struct dma_fence_ops edu_fence_ops = {
	.get_driver_name = edu_fence_name,
	.get_timeline_name = edu_fence_name,
};

static struct dma_fence *edu_fence_alloc(void)
{
	struct dma_fence *fence;

	fence = kzalloc_obj(*fence);
	if (fence)
		dma_fence_init(fence, &edu_fence_ops, NULL, edu_fence_context,
			       atomic64_inc_return(&edu_fence_seqno));
	return fence;
}

static void edu_unmap_locked(struct edu_attachment *att)
{
	dma_resv_assert_held(att->dmabuf->resv);

	if (!att->sgt)
		return;
	dma_buf_unmap_attachment(att->attach, att->sgt, DMA_BIDIRECTIONAL);
	att->sgt = NULL;
	att->stale = false;
}

static void edu_invalidate(struct dma_buf_attachment *attach)
{
	struct edu_attachment *att = attach->importer_priv;

	dma_resv_assert_held(attach->dmabuf->resv);

	/* While attaching, and again until a lazy one unmaps. */
	if (!att->sgt || att->stale)
		return;

	att->invalidations++;
	att->stale = true;
	/* Whoever runs DMA has a fence there and unmaps afterwards. */
	if (!att->users && !(att->flags & P2PBUF_EDU_LAZY))
		edu_unmap_locked(att);
}

/* By P2PBUF_EDU_P2P and P2PBUF_EDU_REVOCABLE. */
static const struct dma_buf_attach_ops edu_attach_ops[2][2] = {
	[0][1] = { .invalidate_mappings = edu_invalidate },
	[1][0] = { .allow_peer2peer = true },
	[1][1] = { .allow_peer2peer = true,
		   .invalidate_mappings = edu_invalidate },
};

static const struct dma_buf_attach_ops *edu_ops_of(u32 flags)
{
	if (!(flags & P2PBUF_EDU_DYNAMIC))
		return NULL;
	return &edu_attach_ops[!!(flags & P2PBUF_EDU_P2P)]
			      [!!(flags & P2PBUF_EDU_REVOCABLE)];
}

/* Everything the attachment holds of the dma-buf but the reference. */
static void edu_revoke(struct edu_attachment *att)
{
	struct dma_buf *dmabuf = att->dmabuf;

	mutex_lock(&att->lock);
	if (att->attach) {
		dma_resv_lock(dmabuf->resv, NULL);
		edu_unmap_locked(att);
		if (att->pinned)
			dma_buf_unpin(att->attach);
		att->pinned = false;
		if (iosys_map_is_set(&att->vmap))
			dma_buf_vunmap(dmabuf, &att->vmap);
		iosys_map_clear(&att->vmap);
		dma_resv_unlock(dmabuf->resv);

		dma_buf_detach(dmabuf, att->attach);
		att->attach = NULL;
	}
	mutex_unlock(&att->lock);
}

static void edu_attachment_release(struct kref *kref)
{
	struct edu_attachment *att = container_of(kref, typeof(*att), kref);

	/* Until it has let go the device must not. */
	mutex_lock(&edu_lock);
	list_del(&att->node);
	edu_revoke(att);
	mutex_unlock(&edu_lock);

	dma_buf_put(att->dmabuf);
	kfree(att);
}

static void edu_attachment_put(struct edu_attachment *att)
{
	kref_put(&att->kref, edu_attachment_release);
}

static struct edu_device *edu_find(u32 pci)
{
	struct edu_device *edu;

	lockdep_assert_held(&edu_lock);

	list_for_each_entry(edu, &edu_devices, node)
		if (!pci || pci == (pci_domain_nr(edu->pdev->bus) << 16 |
				    pci_dev_id(edu->pdev)))
			return edu;
	return NULL;
}

/* The device must not go before the attachment is on its list. */
static int edu_attach_device(struct edu_attachment *att, u32 pci)
{
	struct dma_buf_attachment *attach;
	struct edu_device *edu;

	guard(mutex)(&edu_lock);

	edu = edu_find(pci);
	if (!edu)
		return -ENODEV;

	attach = dma_buf_dynamic_attach(att->dmabuf, &edu->pdev->dev,
					edu_ops_of(att->flags), att);
	if (IS_ERR(attach))
		return PTR_ERR(attach);

	att->edu = edu;
	att->attach = attach;
	list_add_tail(&att->node, &edu->attachments);
	return 0;
}

static long edu_ioctl_attach(struct edu_file *file,
			     struct p2pbuf_edu_attach *args)
{
	const u32 known = P2PBUF_EDU_GOOD | P2PBUF_EDU_LAZY;
	struct edu_attachment *att;
	struct dma_buf *dmabuf;
	int ret;

	if (args->pad || args->flags & ~known ||
	    (args->flags && !(args->flags & P2PBUF_EDU_DYNAMIC)))
		return -EINVAL;

	dmabuf = dma_buf_get(args->fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	ret = -ENOMEM;
	att = kzalloc_obj(*att);
	if (!att)
		goto put_dmabuf;
	kref_init(&att->kref);
	mutex_init(&att->lock);
	INIT_LIST_HEAD(&att->node);
	att->dmabuf = dmabuf;
	att->flags = args->flags;

	ret = edu_attach_device(att, args->pci);
	if (ret)
		goto free_attachment;
	args->p2p = att->attach->peer2peer;

	ret = xa_alloc(&file->attachments, &args->id, att, xa_limit_31b,
		       GFP_KERNEL);
	if (ret) {
		edu_attachment_put(att);
		return ret;
	}
	return 0;

free_attachment:
	kfree(att);
put_dmabuf:
	dma_buf_put(dmabuf);
	return ret;
}

static struct edu_attachment *edu_attachment_get(struct edu_file *file, u32 id)
{
	struct edu_attachment *att;

	xa_lock(&file->attachments);
	att = xa_load(&file->attachments, id);
	if (att)
		kref_get(&att->kref);
	xa_unlock(&file->attachments);
	return att;
}

static long edu_detach(struct edu_file *file, u32 id)
{
	struct edu_attachment *att = xa_erase(&file->attachments, id);

	if (!att)
		return -ENOENT;

	edu_attachment_put(att);
	return 0;
}

static int edu_map(struct edu_attachment *att, struct p2pbuf_edu_map *args)
{
	struct dma_resv *resv = att->dmabuf->resv;
	struct scatterlist *sg;
	struct sg_table *sgt;
	long left;
	int i, ret = 0;

	left = dma_resv_wait_timeout(resv, DMA_RESV_USAGE_KERNEL, true,
				     MAX_SCHEDULE_TIMEOUT);
	if (left < 0)
		return left;

	dma_resv_lock(resv, NULL);
	if (att->sgt) {
		ret = -EBUSY;
		goto unlock;
	}
	sgt = dma_buf_map_attachment(att->attach, DMA_BIDIRECTIONAL);
	if (IS_ERR(sgt)) {
		ret = PTR_ERR(sgt);
		goto unlock;
	}
	att->sgt = sgt;

	args->nents = sgt->nents;
	args->addr = sg_dma_address(sgt->sgl);
	args->size = 0;
	args->longest = 0;
	for_each_sgtable_dma_sg(sgt, sg, i) {
		args->size += sg_dma_len(sg);
		args->longest = max_t(u64, args->longest, sg_dma_len(sg));
	}
unlock:
	dma_resv_unlock(resv);
	return ret;
}

static int edu_unmap(struct edu_attachment *att)
{
	int ret = 0;

	dma_resv_lock(att->dmabuf->resv, NULL);
	if (att->sgt)
		edu_unmap_locked(att);
	else
		ret = -ENXIO;
	dma_resv_unlock(att->dmabuf->resv);
	return ret;
}

static int edu_pin(struct edu_attachment *att, bool pin)
{
	int ret = 0;

	if (!(att->flags & P2PBUF_EDU_DYNAMIC) || att->pinned == pin)
		return -EINVAL;

	dma_resv_lock(att->dmabuf->resv, NULL);
	if (pin)
		ret = dma_buf_pin(att->attach);
	else
		dma_buf_unpin(att->attach);
	dma_resv_unlock(att->dmabuf->resv);
	if (!ret)
		att->pinned = pin;
	return ret;
}

static int edu_vmap(struct edu_attachment *att, bool map)
{
	int ret = 0;

	if (iosys_map_is_set(&att->vmap) == map)
		return -EINVAL;

	if (map)
		ret = dma_buf_vmap_unlocked(att->dmabuf, &att->vmap);
	else
		dma_buf_vunmap_unlocked(att->dmabuf, &att->vmap);
	if (ret || !map)
		iosys_map_clear(&att->vmap);
	return ret;
}

static void edu_fence_work(struct work_struct *work)
{
	struct edu_fence *timer = container_of(to_delayed_work(work),
					       struct edu_fence, work);

	atomic_dec(timer->pending);
	dma_fence_signal(timer->fence);
}

static int edu_fence(struct edu_file *file, struct edu_attachment *att, u32 ms)
{
	struct dma_resv *resv = att->dmabuf->resv;
	struct edu_fence *timer;
	int ret = -ENOMEM;

	timer = kzalloc_obj(*timer);
	if (!timer)
		return -ENOMEM;
	timer->fence = edu_fence_alloc();
	if (!timer->fence)
		goto free_timer;
	timer->pending = &file->pending;
	INIT_DELAYED_WORK(&timer->work, edu_fence_work);

	dma_resv_lock(resv, NULL);
	ret = dma_resv_reserve_fences(resv, 1);
	if (ret) {
		dma_resv_unlock(resv);
		goto put_fence;
	}
	/* From here on it will signal. */
	atomic_inc(&file->pending);
	schedule_delayed_work(&timer->work, msecs_to_jiffies(ms));
	dma_resv_add_fence(resv, timer->fence, DMA_RESV_USAGE_BOOKKEEP);
	dma_resv_unlock(resv);

	mutex_lock(&file->fences_lock);
	list_add_tail(&timer->node, &file->fences);
	mutex_unlock(&file->fences_lock);
	return 0;

put_fence:
	dma_fence_put(timer->fence);
free_timer:
	kfree(timer);
	return ret;
}

static void edu_fences_end(struct edu_file *file)
{
	struct edu_fence *timer, *next;

	list_for_each_entry_safe(timer, next, &file->fences, node) {
		flush_delayed_work(&timer->work);
		dma_fence_put(timer->fence);
		kfree(timer);
	}
}

/* One run of the engine; the caller holds dma_lock. */
static int edu_dma_run(struct edu_device *edu, u64 src, u64 dst, u32 len,
		       u64 cmd)
{
	u64 status;

	writeq(src, edu->regs + EDU_DMA_SRC);
	writeq(dst, edu->regs + EDU_DMA_DST);
	writeq(len, edu->regs + EDU_DMA_COUNT);
	writeq(cmd | EDU_DMA_RUN, edu->regs + EDU_DMA_CMD);
	return readq_poll_timeout(edu->regs + EDU_DMA_CMD, status,
				  !(status & EDU_DMA_RUN), 1000, 20000000);
}

/*
 * dma_need_sync() knows for direct mappings. Behind an IOMMU it says yes to
 * everything on a kernel with dma-debug, which then complains of a peer's BAR:
 * it never heard of what dma_iova_link() mapped. Only devices that are not
 * trusted are bounced there, and this is none.
 */
static bool edu_is_bounced(struct device *dev, dma_addr_t addr)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	if (domain && domain->type & __IOMMU_DOMAIN_PAGING)
		return false;
	return dma_need_sync(dev, addr);
}

/* Bounced memory must be copied; the rest, a peer's BAR too, needs nothing. */
static void edu_sync(struct edu_attachment *att, dma_addr_t addr, u32 len,
		     bool write)
{
	struct device *dev = att->attach->dev;

	if (!edu_is_bounced(dev, addr))
		return;
	if (write)
		dma_sync_single_for_cpu(dev, addr, len, DMA_BIDIRECTIONAL);
	else
		dma_sync_single_for_device(dev, addr, len, DMA_BIDIRECTIONAL);
}

/* Between the bytes of edu->page and one piece of a DMA segment. */
static int edu_dma_piece(struct edu_attachment *att, dma_addr_t addr, u32 at,
			 u32 len, bool write)
{
	struct edu_device *edu = att->edu;
	int ret;

	if (write) {
		ret = edu_dma_run(edu, edu->page_addr + at, EDU_BUFFER, len, 0);
		if (!ret)
			ret = edu_dma_run(edu, EDU_BUFFER, addr, len,
					  EDU_DMA_TO_MEMORY);
		edu_sync(att, addr, len, true);
		return ret;
	}

	edu_sync(att, addr, len, false);
	ret = edu_dma_run(edu, addr, EDU_BUFFER, len, 0);
	if (!ret)
		ret = edu_dma_run(edu, EDU_BUFFER, edu->page_addr + at, len,
				  EDU_DMA_TO_MEMORY);
	return ret;
}

static int edu_dma_segments(struct edu_attachment *att,
			    const struct p2pbuf_edu_copy *args)
{
	u64 skip = args->offset;
	struct scatterlist *sg;
	u32 at = 0, len;
	int i, ret;

	for_each_sgtable_dma_sg(att->sgt, sg, i) {
		if (skip >= sg_dma_len(sg)) {
			skip -= sg_dma_len(sg);
			continue;
		}
		len = min_t(u64, args->len - at, sg_dma_len(sg) - skip);
		ret = edu_dma_piece(att, sg_dma_address(sg) + skip, at, len,
				    args->write);
		if (ret)
			return ret;
		at += len;
		skip = 0;
		if (at == args->len)
			return 0;
	}
	return -ERANGE;
}

/* Publish a fence for the DMA that is about to run. */
static int edu_dma_begin(struct edu_attachment *att, struct dma_fence *fence)
{
	struct dma_resv *resv = att->dmabuf->resv;
	int ret;

	dma_resv_lock(resv, NULL);
	ret = -ENXIO;
	if (att->sgt && !att->stale)
		ret = dma_resv_reserve_fences(resv, 1);
	if (!ret) {
		att->users++;
		dma_resv_add_fence(resv, fence, DMA_RESV_USAGE_BOOKKEEP);
	}
	dma_resv_unlock(resv);
	return ret;
}

static void edu_dma_end(struct edu_attachment *att)
{
	dma_resv_lock(att->dmabuf->resv, NULL);
	att->users--;
	if (!att->users && att->stale && !(att->flags & P2PBUF_EDU_LAZY))
		edu_unmap_locked(att);
	dma_resv_unlock(att->dmabuf->resv);
}

static int edu_dma(struct edu_attachment *att,
		   const struct p2pbuf_edu_copy *args, void *bytes)
{
	struct edu_device *edu = att->edu;
	struct dma_fence *fence;
	bool cookie;
	int ret;

	if (!args->len || args->len > P2PBUF_EDU_DMA_MAX)
		return -EINVAL;

	fence = edu_fence_alloc();
	if (!fence)
		return -ENOMEM;
	ret = edu_dma_begin(att, fence);
	if (ret)
		goto put_fence;

	/* An exporter may be waiting with the resv held. */
	cookie = dma_fence_begin_signalling();
	mutex_lock(&edu->dma_lock);
	if (args->write)
		memcpy(edu->page, bytes, args->len);
	ret = edu_dma_segments(att, args);
	if (!args->write)
		memcpy(bytes, edu->page, args->len);
	mutex_unlock(&edu->dma_lock);
	dma_fence_signal(fence);
	dma_fence_end_signalling(cookie);

	edu_dma_end(att);
put_fence:
	dma_fence_put(fence);
	return ret;
}

static int edu_cpu(struct edu_attachment *att,
		   const struct p2pbuf_edu_copy *args, void *bytes)
{
	enum dma_data_direction dir = args->write ? DMA_TO_DEVICE :
						    DMA_FROM_DEVICE;
	int ret;

	if (iosys_map_is_null(&att->vmap))
		return -ENXIO;

	ret = dma_buf_begin_cpu_access(att->dmabuf, dir);
	if (ret)
		return ret;
	if (args->write)
		iosys_map_memcpy_to(&att->vmap, args->offset, bytes, args->len);
	else
		iosys_map_memcpy_from(bytes, &att->vmap, args->offset,
				      args->len);
	return dma_buf_end_cpu_access(att->dmabuf, dir);
}

/* DMA and CPU: the user's bytes come and go with no lock held. */
static long edu_copy(struct edu_attachment *att, unsigned int cmd,
		     const struct p2pbuf_edu_copy *args)
{
	void __user *user = u64_to_user_ptr(args->data);
	void *bytes;
	int ret;

	if (args->pad || args->write > 1 || !args->len ||
	    args->len > PAGE_SIZE || args->offset > att->dmabuf->size ||
	    args->len > att->dmabuf->size - args->offset)
		return -EINVAL;

	bytes = kzalloc(args->len, GFP_KERNEL);
	if (!bytes)
		return -ENOMEM;
	ret = -EFAULT;
	if (args->write && copy_from_user(bytes, user, args->len))
		goto free_bytes;

	mutex_lock(&att->lock);
	if (!att->attach)
		ret = -ENODEV;
	else if (cmd == P2PBUF_EDU_DMA)
		ret = edu_dma(att, args, bytes);
	else
		ret = edu_cpu(att, args, bytes);
	mutex_unlock(&att->lock);

	if (!ret && !args->write && copy_to_user(user, bytes, args->len))
		ret = -EFAULT;
free_bytes:
	kfree(bytes);
	return ret;
}

/* Without the resv: a move may hold it, and tests want to see it begin. */
static void edu_stat(struct edu_file *file, struct edu_attachment *att,
		     struct p2pbuf_edu_stat *args)
{
	args->mapped = READ_ONCE(att->sgt) && !READ_ONCE(att->stale);
	args->invalidations = READ_ONCE(att->invalidations);
	args->fences = atomic_read(&file->pending);
}

union edu_args {
	u32 id;		/* of the attachment: first in each but attach */
	struct p2pbuf_edu_attach attach;
	struct p2pbuf_edu_map map;
	struct p2pbuf_edu_fence fence;
	struct p2pbuf_edu_copy copy;
	struct p2pbuf_edu_stat stat;
};

/* With the attachment locked and its device there. */
static long edu_ioctl_locked(struct edu_file *file, struct edu_attachment *att,
			     unsigned int cmd, union edu_args *args)
{
	switch (cmd) {
	case P2PBUF_EDU_MAP:
		return edu_map(att, &args->map);
	case P2PBUF_EDU_UNMAP:
		return edu_unmap(att);
	case P2PBUF_EDU_PIN:
	case P2PBUF_EDU_UNPIN:
		return edu_pin(att, cmd == P2PBUF_EDU_PIN);
	case P2PBUF_EDU_VMAP:
	case P2PBUF_EDU_VUNMAP:
		return edu_vmap(att, cmd == P2PBUF_EDU_VMAP);
	case P2PBUF_EDU_FENCE:
		return edu_fence(file, att, args->fence.ms);
	default:
		return -ENOTTY;
	}
}

static long edu_ioctl_attachment(struct edu_file *file, unsigned int cmd,
				 union edu_args *args)
{
	struct edu_attachment *att;
	long ret;

	att = edu_attachment_get(file, args->id);
	if (!att)
		return -ENOENT;

	if (cmd == P2PBUF_EDU_STAT) {
		edu_stat(file, att, &args->stat);
		ret = 0;
	} else if (cmd == P2PBUF_EDU_DMA || cmd == P2PBUF_EDU_CPU) {
		ret = edu_copy(att, cmd, &args->copy);
	} else {
		mutex_lock(&att->lock);
		ret = att->attach ? edu_ioctl_locked(file, att, cmd, args) :
				    -ENODEV;
		mutex_unlock(&att->lock);
	}

	edu_attachment_put(att);
	return ret;
}

static long edu_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	struct edu_file *file = filp->private_data;
	size_t size = _IOC_SIZE(cmd);
	union edu_args args = {};
	long ret;

	if (size > sizeof(args))
		return -ENOTTY;
	if (!size)
		args.id = arg;
	else if (copy_from_user(&args, (void __user *)arg, size))
		return -EFAULT;

	if (cmd == P2PBUF_EDU_ATTACH)
		ret = edu_ioctl_attach(file, &args.attach);
	else if (cmd == P2PBUF_EDU_DETACH)
		ret = edu_detach(file, args.id);
	else
		ret = edu_ioctl_attachment(file, cmd, &args);

	if (!ret && _IOC_DIR(cmd) & _IOC_READ &&
	    copy_to_user((void __user *)arg, &args, size))
		ret = -EFAULT;
	return ret;
}

static int edu_open(struct inode *inode, struct file *filp)
{
	struct edu_file *file;

	file = kzalloc_obj(*file);
	if (!file)
		return -ENOMEM;
	xa_init_flags(&file->attachments, XA_FLAGS_ALLOC);
	mutex_init(&file->fences_lock);
	INIT_LIST_HEAD(&file->fences);
	filp->private_data = file;
	return 0;
}

static int edu_release(struct inode *inode, struct file *filp)
{
	struct edu_file *file = filp->private_data;
	struct edu_attachment *att;
	unsigned long id;

	edu_fences_end(file);
	xa_for_each(&file->attachments, id, att)
		edu_attachment_put(att);
	xa_destroy(&file->attachments);
	kfree(file);
	return 0;
}

static const struct file_operations edu_fops = {
	.owner = THIS_MODULE,
	.open = edu_open,
	.release = edu_release,
	.unlocked_ioctl = edu_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice edu_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "p2pbuf-edu",
	.fops = &edu_fops,
	.mode = 0600,
};

static int edu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct edu_device *edu;
	int ret;

	edu = devm_kzalloc(&pdev->dev, sizeof(*edu), GFP_KERNEL);
	if (!edu)
		return -ENOMEM;
	edu->pdev = pdev;
	mutex_init(&edu->dma_lock);
	INIT_LIST_HEAD(&edu->attachments);

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	edu->regs = pcim_iomap_region(pdev, 0, "p2pbuf_edu");
	if (IS_ERR(edu->regs))
		return PTR_ERR(edu->regs);
	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(dma_bits));
	if (ret)
		return ret;
	edu->page = dmam_alloc_coherent(&pdev->dev, PAGE_SIZE, &edu->page_addr,
					GFP_KERNEL);
	if (!edu->page)
		return -ENOMEM;
	pci_set_master(pdev);
	pci_set_drvdata(pdev, edu);

	mutex_lock(&edu_lock);
	list_add_tail(&edu->node, &edu_devices);
	mutex_unlock(&edu_lock);
	return 0;
}

/* Attachments stay with their files, but let go of everything. */
static void edu_remove(struct pci_dev *pdev)
{
	struct edu_device *edu = pci_get_drvdata(pdev);
	struct edu_attachment *att, *next;

	/* None is freed while edu_lock is held: its last put needs it too. */
	mutex_lock(&edu_lock);
	list_del(&edu->node);
	list_for_each_entry_safe(att, next, &edu->attachments, node) {
		list_del_init(&att->node);
		edu_revoke(att);
	}
	mutex_unlock(&edu_lock);
	pci_clear_master(pdev);
}

static const struct pci_device_id edu_ids[] = {
	{ PCI_DEVICE(0x1234, 0x11e8) },
	{ }
};
MODULE_DEVICE_TABLE(pci, edu_ids);

static struct pci_driver edu_driver = {
	.name = "p2pbuf_edu",
	.id_table = edu_ids,
	.probe = edu_probe,
	.remove = edu_remove,
};

static int __init edu_init(void)
{
	int ret;

	edu_fence_context = dma_fence_context_alloc(1);
	ret = pci_register_driver(&edu_driver);
	if (ret)
		return ret;
	ret = misc_register(&edu_misc);
	if (ret)
		pci_unregister_driver(&edu_driver);
	return ret;
}

static void __exit edu_exit(void)
{
	misc_deregister(&edu_misc);
	pci_unregister_driver(&edu_driver);
	/* Somebody may be reading the name of a fence. */
	synchronize_rcu();
}

module_init(edu_init);
module_exit(edu_exit);
MODULE_IMPORT_NS("DMA_BUF");
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Test only: dma-buf importer for QEMU's edu device");
