// SPDX-License-Identifier: GPL-2.0
/*
 * Proof: what this module assumes of the running nvme driver, shown on it.
 *
 * Three things are behaviour of the driver and not promises of it:
 *
 *	1. a request without a bio keeps the data pointer its command has
 *	   (drivers/nvme/host/pci.c, nvme_prep_rq(): no segments, no mapping)
 *	2. the private part of a request begins as request.c declares it
 *	3. the status of a failed command is found there
 *
 * Each is checked with real commands, for every binding: one block is read
 * twice into scratch memory filled with two different bytes. The block must
 * have arrived, so no byte keeps its fill both times (1); the command must lie
 * where it is expected (2); a read beyond the end of the namespace must come
 * back as LBA Out of Range, and the good read as success (3).
 *
 * The two reads show one more thing. A namespace formatted with metadata at
 * the end of each block has an ordinary capacity and, with protection
 * information, no integrity profile (drivers/nvme/host/core.c,
 * nvme_init_integrity()); a read of it transfers more than a block. Any
 * scratch byte beyond the block that changed means such a format.
 *
 * The function's lock is held meanwhile, and so nothing in here may wait for
 * somebody who needs it: not for a queue that stands still until error recovery
 * of the PCI core is over, nor for a drive that was pulled out until its driver
 * is told.
 */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include "nvme.h"

#define FILL_FIRST	0xaa
#define FILL_SECOND	0x55

/* Somebody may be writing the block: try again a few times. */
#define PROOF_TRIES	8

/* How long a wait goes without looking whether the drive is gone. */
#define PROOF_SLICE	(HZ / 10)

/**
 * struct scratch - what the device writes to
 * @dev: the drive
 * @va: pages: PRP list, metadata, then the data
 * @dma: of @va
 * @pages: of data: the block and one page more
 * @block: logical block size
 */
struct scratch {
	struct device *dev;
	u8 *va;
	dma_addr_t dma;
	u32 pages;
	u32 block;
};

#define SCRATCH_META	NVME_PAGE_BYTES
#define SCRATCH_DATA	(2 * NVME_PAGE_BYTES)

static size_t scratch_bytes(const struct scratch *s)
{
	return (size_t)(s->pages + 2) * NVME_PAGE_BYTES;
}

static u8 *scratch_data(const struct scratch *s)
{
	return s->va + SCRATCH_DATA;
}

static int scratch_alloc(struct scratch *s, struct p2pbuf_nvme_ns *ns)
{
	__le64 *list;
	u32 i;

	s->dev = &ns->pdev->dev;
	s->block = 1U << ns->lba_shift;
	s->pages = DIV_ROUND_UP(s->block, NVME_PAGE_BYTES) + 1;
	s->va = dma_alloc_coherent(s->dev, scratch_bytes(s), &s->dma,
				   GFP_KERNEL);
	if (!s->va)
		return -ENOMEM;
	list = (__le64 *)s->va;
	for (i = 1; i < s->pages; i++)
		list[i - 1] = cpu_to_le64(s->dma + SCRATCH_DATA +
					  (u64)i * NVME_PAGE_BYTES);
	return 0;
}

static void scratch_free(struct scratch *s)
{
	dma_free_coherent(s->dev, scratch_bytes(s), s->va, s->dma);
}

static void scratch_command(struct scratch *s, struct p2pbuf_nvme_ns *ns,
			    u64 lba, struct nvme_command *cmd)
{
	__le64 *list = (__le64 *)s->va;

	memset(cmd, 0, sizeof(*cmd));
	cmd->rw.opcode = nvme_cmd_read;
	cmd->rw.nsid = cpu_to_le32(ns->nsid);
	cmd->rw.slba = cpu_to_le64(lba);
	cmd->rw.metadata = cpu_to_le64(s->dma + SCRATCH_META);
	cmd->rw.dptr.prp1 = cpu_to_le64(s->dma + SCRATCH_DATA);
	cmd->rw.dptr.prp2 = s->pages == 2 ? list[0] : cpu_to_le64(s->dma);
}

/**
 * struct proof_wait - a command that is waited for
 * @done: it is over
 * @err: and this is what the block layer says of it
 */
struct proof_wait {
	struct completion done;
	blk_status_t err;
};

static enum rq_end_io_ret proof_end(struct request *req, blk_status_t err,
				    const struct io_comp_batch *iob)
{
	struct proof_wait *wait = req->end_io_data;

	wait->err = err;
	complete(&wait->done);
	return RQ_END_IO_NONE;
}

/* As blk_execute_rq(), but it ends also when the drive is gone. */
static blk_status_t proof_execute(struct p2pbuf_nvme_ns *ns,
				  struct request *req)
{
	struct proof_wait wait = {
		.done = COMPLETION_INITIALIZER_ONSTACK(wait.done),
	};

	req->end_io_data = &wait;
	req->end_io = proof_end;
	p2pbuf_nvme_request_execute(req);
	while (!wait_for_completion_timeout(&wait.done, PROOF_SLICE))
		p2pbuf_nvme_ns_poll(ns, false);
	return wait.err;
}

/* Read one block; *status is the device's answer. */
static int proof_read(struct p2pbuf_nvme_ns *ns, struct scratch *s, u64 lba,
		      u8 fill, u16 *status)
{
	struct nvme_command cmd;
	struct request *req;
	blk_status_t err;
	int ret = 0;

	memset(s->va + SCRATCH_META, fill, scratch_bytes(s) - SCRATCH_META);
	scratch_command(s, ns, lba, &cmd);
	req = blk_mq_alloc_request(ns->queue, REQ_OP_DRV_IN,
				   BLK_MQ_REQ_NOWAIT);
	/* Frozen, or all tags are taken. */
	if (req == ERR_PTR(-EAGAIN))
		return P2PBUF_NVME_LATER;
	if (IS_ERR(req))
		return PTR_ERR(req);
	p2pbuf_nvme_request_prepare(req, &cmd);
	if (p2pbuf_nvme_request_holds(req, &cmd)) {
		err = proof_execute(ns, req);
		*status = p2pbuf_nvme_request_status(req) &
			  NVME_SCT_SC_MASK;
		/* A reset or a removal, and the device was never asked. */
		if (err && !*status)
			ret = -EIO;
	} else {
		ret = -EPROTO;
	}
	blk_mq_free_request(req);
	return ret;
}

/* Did anything but the block arrive? */
static bool proof_overrun(const struct scratch *s, u8 fill)
{
	const u8 *meta = s->va + SCRATCH_META;

	return memchr_inv(meta, fill, NVME_PAGE_BYTES) ||
	       memchr_inv(scratch_data(s) + s->block, fill,
			  s->pages * NVME_PAGE_BYTES - s->block);
}

static int proof_read_block(struct p2pbuf_nvme_ns *ns, struct scratch *s,
			    u8 fill, u8 *copy)
{
	u16 status;
	int ret;

	ret = proof_read(ns, s, ns->lba_base, fill, &status);
	if (ret)
		return ret;
	if (status)
		return -EIO;
	if (proof_overrun(s, fill))
		return -EOPNOTSUPP;
	memcpy(copy, scratch_data(s), s->block);
	return 0;
}

/*
 * Did a byte keep its fill both times? Then the device did not write it; the
 * block's data may well change between the two reads.
 */
static bool proof_untouched(const u8 *first, const u8 *second, u32 bytes)
{
	u32 i;

	for (i = 0; i < bytes; i++)
		if (first[i] == FILL_FIRST && second[i] == FILL_SECOND)
			return true;
	return false;
}

static int proof_data(struct p2pbuf_nvme_ns *ns, struct scratch *s)
{
	u8 *first, *second;
	int tries, ret = -EPROTO;

	first = kvmalloc(2 * s->block, GFP_KERNEL);
	if (!first)
		return -ENOMEM;
	second = first + s->block;
	for (tries = 0; tries < PROOF_TRIES; tries++) {
		ret = proof_read_block(ns, s, FILL_FIRST, first);
		if (!ret)
			ret = proof_read_block(ns, s, FILL_SECOND, second);
		if (ret || !proof_untouched(first, second, s->block))
			break;
		ret = -EPROTO;
	}
	kvfree(first);
	return ret;
}

/* Not the device's answer: the driver gave up in its place, for a reset. */
static bool proof_unanswered(u16 status)
{
	return status == NVME_SC_HOST_PATH_ERROR ||
	       status == NVME_SC_HOST_ABORTED_CMD ||
	       status == NVME_SC_ABORT_REQ;
}

static int proof_status(struct p2pbuf_nvme_ns *ns, struct scratch *s)
{
	u64 end = ns->disk_sectors >> (ns->lba_shift - SECTOR_SHIFT);
	u16 status;
	int ret;

	ret = proof_read(ns, s, end, FILL_FIRST, &status);
	if (ret)
		return ret;
	if (proof_unanswered(status))
		return -EIO;
	return status == NVME_SC_LBA_RANGE ? 0 : -EPROTO;
}

/**
 * p2pbuf_nvme_prove - is the driver as assumed, the format a plain one?
 * @ns: inspected; device_lock of the function held
 *
 * Reads three blocks at most a few times over.
 *
 * Return: 0; -EPROTO when an assumption is wrong; -EOPNOTSUPP for a format
 * with metadata; -EIO or -ENODEV when the device does not answer; -ENOMEM;
 * P2PBUF_NVME_LATER, with the lock to be let go of before the next try.
 */
int p2pbuf_nvme_prove(struct p2pbuf_nvme_ns *ns)
{
	struct scratch s;
	int ret;

	device_lock_assert(&ns->pdev->dev);

	ret = scratch_alloc(&s, ns);
	if (ret)
		return ret;
	ret = proof_data(ns, &s);
	if (!ret)
		ret = proof_status(ns, &s);
	scratch_free(&s);
	if (ret == -EPROTO)
		pci_err(ns->pdev, "p2pbuf: the nvme driver of this kernel does not behave as needed, refusing to use it\n");
	return ret;
}

static int prove_disk(struct device *dev, void *data)
{
	struct p2pbuf_nvme_ns ns = {};
	int *verdict = data;
	int ret;

	if (!dev->class || strcmp(dev->class->name, "block"))
		return 0;
	ns.file = bdev_file_open_by_dev(dev->devt, BLK_OPEN_READ, NULL, NULL);
	if (IS_ERR(ns.file))
		return 0;
	ns.bdev = file_bdev(ns.file);
	ns.queue = bdev_get_queue(ns.bdev);
	ns.pdev = to_pci_dev(dev->parent->parent);
	ret = -ENODEV;
	if (queue_is_mq(ns.queue))
		ret = p2pbuf_nvme_ns_inspect(&ns);
	if (!ret)
		ret = p2pbuf_nvme_prove(&ns);
	fput(ns.file);
	/* Only a proof or a disproof ends the search; later is neither. */
	if (ret && ret != -EPROTO)
		return 0;
	*verdict = ret;
	return 1;
}

static int prove_controller(struct device *dev, void *data)
{
	return device_for_each_child(dev, data, prove_disk);
}

static int prove_function(struct device *dev, void *data)
{
	int done = 0;

	device_lock(dev);
	if (dev->driver && !strcmp(dev->driver->name, "nvme"))
		done = device_for_each_child(dev, data, prove_controller);
	device_unlock(dev);
	return done;
}

/**
 * p2pbuf_nvme_prove_any - prove the driver on any namespace there is
 *
 * For loading the module: a driver that is not as assumed keeps it out.
 *
 * Return: 0 when proven, or when there is no namespace to prove it on (each
 * binding proves it again); -EPROTO when disproven.
 */
int p2pbuf_nvme_prove_any(void)
{
	int verdict = -ENODEV;

	bus_for_each_dev(&pci_bus_type, NULL, &verdict, prove_function);
	if (verdict == -ENODEV) {
		pr_info("p2pbuf_nvme: no namespace to prove the nvme driver on, the first binding does it\n");
		return 0;
	}
	return verdict;
}
