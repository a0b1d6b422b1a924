// SPDX-License-Identifier: GPL-2.0
/*
 * The driver's private part of a request.
 *
 * The nvme driver keeps a struct nvme_request at the start of each request's
 * private data (drivers/nvme/host/nvme.h). Its completion status is needed:
 * when completions are batched, blk-mq calls end_io() with status 0 even for
 * a failed passthrough command (block/blk-mq.c, blk_mq_end_request_batch()),
 * and only the private status tells. No header exports the layout, so its
 * beginning is declared again in nvme.h and proof.c proves on the running
 * driver, for each binding, that it is right.
 */
#include "nvme.h"

/*
 * Does the private part hold @cmd where the layout above says it does? False
 * means that the layout is not the running driver's; nothing beyond the
 * private data of the request is read to find out.
 */
bool p2pbuf_nvme_request_holds(struct request *req,
			       const struct nvme_command *cmd)
{
	const struct p2pbuf_nvme_request *priv = blk_mq_rq_to_pdu(req);
	const void *end = (void *)priv + req->q->tag_set->cmd_size;

	return (void *)priv->cmd > (void *)priv &&
	       (void *)(priv->cmd + 1) <= end &&
	       !memcmp(priv->cmd, cmd, sizeof(*cmd));
}

/* NVMe status of a finished request, 0 on success; DNR and More included. */
u16 p2pbuf_nvme_request_status(struct request *req)
{
	const struct p2pbuf_nvme_request *priv = blk_mq_rq_to_pdu(req);

	return priv->status;
}

/* First block of the read or write @req carries. */
u64 p2pbuf_nvme_request_lba(struct request *req)
{
	const struct p2pbuf_nvme_request *priv = blk_mq_rq_to_pdu(req);

	return le64_to_cpu(priv->cmd->rw.slba);
}

static int p2pbuf_nvme_status_errno(u16 status)
{
	switch (status & NVME_SCT_SC_MASK) {
	case NVME_SC_READ_ERROR:
	case NVME_SC_WRITE_FAULT:
	case NVME_SC_UNWRITTEN_BLOCK:
		return -ENODATA;
	case NVME_SC_CMD_INTERRUPTED:
	case NVME_SC_ABORT_REQ:
	case NVME_SC_HOST_ABORTED_CMD:
		return -ETIMEDOUT;
	default:
		return -EIO;
	}
}

/* There is an error: which? */
int p2pbuf_nvme_request_error(struct request *req, blk_status_t err)
{
	const struct p2pbuf_nvme_request *priv = blk_mq_rq_to_pdu(req);

	if (priv->status)
		return p2pbuf_nvme_status_errno(priv->status);
	if (err == BLK_STS_TIMEOUT)
		return -ETIMEDOUT;
	return -EIO;
}
