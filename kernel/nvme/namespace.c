// SPDX-License-Identifier: GPL-2.0
/*
 * Namespace: what a block device fd stands for, and whether it can serve.
 *
 * Nothing of the nvme driver's private structures is looked at: the block
 * layer and the device tree tell all that is needed. What they cannot tell
 * (a format with inline metadata hides behind an ordinary capacity) proof.c
 * finds out by reading.
 */
#include <linux/file.h>
#include <linux/log2.h>
#include <linux/nvme_ioctl.h>
#include "nvme.h"

/* One command's data must fit the half overlap of the lists, see table.c. */
#define NVME_MAX_IO	SZ_1M

static bool namespace_is_nvme(struct gendisk *disk)
{
	return disk->fops->owner && disk->fops->ioctl &&
	       !strcmp(module_name(disk->fops->owner), "nvme_core");
}

/* Disk, controller, function. The disk's device holds its parents. */
static struct device *namespace_function(struct gendisk *disk)
{
	struct device *ctrl = disk_to_dev(disk)->parent;

	return ctrl ? ctrl->parent : NULL;
}

/**
 * p2pbuf_nvme_ns_open - look at a file descriptor
 * @fd: the caller's
 * @ns: file, bdev, queue and pdev are set on success
 *
 * Return: 0, to be undone with p2pbuf_nvme_ns_close(), or -EBADF, -ENOTBLK,
 * -EPROTOTYPE, -EMLINK as in the uapi header.
 */
int p2pbuf_nvme_ns_open(int fd, struct p2pbuf_nvme_ns *ns)
{
	struct gendisk *disk;
	struct device *dev;
	int ret;

	ns->file = fget(fd);
	if (!ns->file)
		return -EBADF;
	ret = -ENOTBLK;
	if (!S_ISBLK(file_inode(ns->file)->i_mode))
		goto put_file;
	ns->bdev = I_BDEV(ns->file->f_mapping->host);
	disk = ns->bdev->bd_disk;
	ns->queue = disk->queue;
	ret = -EPROTOTYPE;
	if (!namespace_is_nvme(disk))
		goto put_file;
	/* A multipath head takes bios and chooses a path for each. */
	ret = -EMLINK;
	if (!queue_is_mq(ns->queue))
		goto put_file;
	ret = -EPROTOTYPE;
	dev = namespace_function(disk);
	if (!dev || !dev_is_pci(dev))
		goto put_file;
	ns->pdev = pci_dev_get(to_pci_dev(dev));
	return 0;

put_file:
	fput(ns->file);
	return ret;
}

void p2pbuf_nvme_ns_close(struct p2pbuf_nvme_ns *ns)
{
	pci_dev_put(ns->pdev);
	fput(ns->file);
}

/**
 * p2pbuf_nvme_ns_inspect - can this namespace serve?
 * @ns: opened; the rest is filled
 *
 * Context: device_lock of the function held, so that the driver stays.
 * Return: 0, -ENODEV, -EPROTOTYPE, -EMEDIUMTYPE, -EOPNOTSUPP.
 */
int p2pbuf_nvme_ns_inspect(struct p2pbuf_nvme_ns *ns)
{
	struct gendisk *disk = ns->bdev->bd_disk;
	int nsid;

	device_lock_assert(&ns->pdev->dev);

	if (!ns->pdev->dev.driver || !disk_live(disk))
		return -ENODEV;
	if (strcmp(ns->pdev->dev.driver->name, "nvme"))
		return -EPROTOTYPE;
	if (bdev_is_zoned(ns->bdev))
		return -EMEDIUMTYPE;
	if (blk_get_integrity(disk))
		return -EOPNOTSUPP;
	nsid = disk->fops->ioctl(ns->bdev, 0, NVME_IOCTL_ID, 0);
	if (nsid <= 0)
		return -EPROTOTYPE;
	ns->nsid = nsid;
	ns->cache = ns->bdev->bd_mapping;
	ns->lba_size = queue_logical_block_size(ns->queue);
	ns->lba_shift = ilog2(ns->lba_size);
	ns->lba_base = get_start_sect(ns->bdev) >>
		       (ns->lba_shift - SECTOR_SHIFT);
	ns->bytes = bdev_nr_bytes(ns->bdev);
	ns->sectors = bdev_nr_sectors(ns->bdev);
	ns->disk_sectors = get_capacity(disk);
	/* Includes the controller's MDTS and the IOMMU's best mapping size. */
	ns->max_io = min_t(u64, NVME_MAX_IO,
			   (u64)queue_max_hw_sectors(ns->queue) << SECTOR_SHIFT);
	ns->max_io = round_down(ns->max_io, ns->lba_size);
	return ns->max_io ? 0 : -EOPNOTSUPP;
}

/*
 * The driver's timeout handler looks for a device that is gone, and cancels. Once
 * is enough, and more is too much: the block layer looks at the deadline twice,
 * some time apart, and acts on one that was over at the first look.
 */
static bool ns_expire(struct request *req, void *unused)
{
	if (time_after(READ_ONCE(req->deadline), jiffies))
		blk_abort_request(req);
	return true;
}

/*
 * A driver that was told of an error stops its queues and cancels what the
 * device has. What the device had not been given yet stays in the block layer,
 * and no timeout finds it there. Let the queues run: the driver refuses all of
 * it, since it has disabled the device.
 *
 * The controller is kept by the namespace, which our open file keeps.
 */
static void ns_run_queues(struct p2pbuf_nvme_ns *ns)
{
	struct device *ctrl = disk_to_dev(ns->bdev->bd_disk)->parent;

	if (blk_queue_quiesced(ns->queue))
		nvme_unquiesce_io_queues(dev_get_drvdata(ctrl));
}

/**
 * p2pbuf_nvme_ns_poll - complete what only polling completes
 * @ns: the namespace
 * @unbound: the driver is being unbound, and whoever does it waits for us
 *
 * Nor does anything but a timeout complete the commands of a drive that was
 * pulled out while somebody waits for them before its driver may go, as the
 * unbind notifier does: the driver would cancel them in its remove(). Their time
 * is over, then, whatever io_timeout says. In the middle of error recovery not
 * even a timeout does; nobody comes to end that any more when the drive is gone
 * or the driver is being unbound.
 *
 * The queue pairs belong to the controller: commands of its other namespaces
 * complete as well.
 *
 * Context: process, does not sleep or allocate.
 * Return: false when the namespace has nothing in flight because it is going.
 */
bool p2pbuf_nvme_ns_poll(struct p2pbuf_nvme_ns *ns, bool unbound)
{
	bool gone = pci_dev_is_disconnected(ns->pdev);
	struct request_queue *q = ns->queue;
	struct blk_mq_hw_ctx *hctx;
	unsigned long i;

	/* Succeeds while I/O is in flight, and keeps the hardware queues. */
	if (!percpu_ref_tryget(&q->q_usage_counter))
		return false;
	queue_for_each_hw_ctx(q, hctx, i)
		if (hctx->type == HCTX_TYPE_POLL)
			p2pbuf_nvme_queue_poll(ns, i, NULL, BLK_POLL_ONESHOT);
	if (unlikely(gone || (unbound && pci_channel_offline(ns->pdev))))
		ns_run_queues(ns);
	if (unlikely(gone))
		blk_mq_tagset_busy_iter(q->tag_set, ns_expire, NULL);
	percpu_ref_put(&q->q_usage_counter);
	return true;
}
