/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Verbs for tests: two connected queue pairs of one device, one work request
 * at a time, and memory regions of dma-bufs by the kernel's own ioctl.
 *
 * The ioctl is what a provider issues for ibv_reg_dmabuf_mr(). The provider of
 * rxe does not, so tests do it themselves.
 *
 * Calls return 0 or -errno unless they say otherwise.
 */
#ifndef P2PBUF_TEST_VERBS_H
#define P2PBUF_TEST_VERBS_H

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>

#include <infiniband/verbs.h>
#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/rdma_user_ioctl_cmds.h>

#define PTV_ALL	(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | \
		 IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC)

/* A region: what work requests name. */
struct ptv_mr {
	uint32_t handle;
	uint32_t lkey;
	uint32_t rkey;
};

struct ptv_cmd {
	struct ib_uverbs_ioctl_hdr head;
	struct ib_uverbs_attr attr[9];
};

static inline void ptv_cmd_attr(struct ptv_cmd *cmd, __u16 id, __u16 len,
				__u64 data)
{
	cmd->attr[cmd->head.num_attrs++] = (struct ib_uverbs_attr){
		.attr_id = id,
		.len = len,
		.flags = UVERBS_ATTR_F_MANDATORY,
		.data = data,
	};
}

static inline int ptv_cmd_issue(struct ibv_context *ctx, struct ptv_cmd *cmd,
				__u16 method)
{
	cmd->head.object_id = UVERBS_OBJECT_MR;
	cmd->head.method_id = method;
	cmd->head.driver_id = RDMA_DRIVER_RXE;
	cmd->head.length = sizeof(cmd->head) +
			   cmd->head.num_attrs * sizeof(cmd->attr[0]);
	return ioctl(ctx->cmd_fd, RDMA_VERBS_IOCTL, cmd) ? -errno : 0;
}

static inline int ptv_reg(struct ibv_pd *pd, int fd, uint64_t offset,
			  uint64_t length, uint64_t iova, int access,
			  struct ptv_mr *mr)
{
	struct ptv_cmd cmd = { };
	int ret;

	/* The kernel fills it through the addresses below. */
	*mr = (struct ptv_mr){ };
	ptv_cmd_attr(&cmd, UVERBS_ATTR_REG_DMABUF_MR_HANDLE, 0, 0);
	ptv_cmd_attr(&cmd, UVERBS_ATTR_REG_DMABUF_MR_PD_HANDLE, 0, pd->handle);
	ptv_cmd_attr(&cmd, UVERBS_ATTR_REG_DMABUF_MR_OFFSET, 8, offset);
	ptv_cmd_attr(&cmd, UVERBS_ATTR_REG_DMABUF_MR_LENGTH, 8, length);
	ptv_cmd_attr(&cmd, UVERBS_ATTR_REG_DMABUF_MR_IOVA, 8, iova);
	ptv_cmd_attr(&cmd, UVERBS_ATTR_REG_DMABUF_MR_FD, 4, (__u32)fd);
	ptv_cmd_attr(&cmd, UVERBS_ATTR_REG_DMABUF_MR_ACCESS_FLAGS, 4, access);
	ptv_cmd_attr(&cmd, UVERBS_ATTR_REG_DMABUF_MR_RESP_LKEY, 4,
		     (uintptr_t)&mr->lkey);
	ptv_cmd_attr(&cmd, UVERBS_ATTR_REG_DMABUF_MR_RESP_RKEY, 4,
		     (uintptr_t)&mr->rkey);
	ret = ptv_cmd_issue(pd->context, &cmd, UVERBS_METHOD_REG_DMABUF_MR);
	if (!ret)
		mr->handle = cmd.attr[0].data;
	return ret;
}

static inline int ptv_dereg(struct ibv_context *ctx, const struct ptv_mr *mr)
{
	struct ptv_cmd cmd = { };

	ptv_cmd_attr(&cmd, UVERBS_ATTR_DESTROY_MR_HANDLE, 0, mr->handle);
	return ptv_cmd_issue(ctx, &cmd, UVERBS_METHOD_MR_DESTROY);
}

/* A device, opened, and on it two queue pairs that talk to each other. */
struct ptv_pair {
	struct ibv_context *ctx;
	struct ibv_pd *pd;
	struct ibv_cq *cq;
	struct ibv_qp *qp[2];
	int gid_index;
	union ibv_gid gid;
};

static inline struct ibv_context *ptv_open(const char *name)
{
	struct ibv_device **list = ibv_get_device_list(NULL);
	struct ibv_context *ctx = NULL;
	int i;

	for (i = 0; list && list[i]; i++)
		if (!ctx && !strcmp(ibv_get_device_name(list[i]), name))
			ctx = ibv_open_device(list[i]);
	if (list)
		ibv_free_device_list(list);
	return ctx;
}

/* RoCE v2 over IPv4; the kernel fills the table in a worker. */
static inline int ptv_find_gid(struct ptv_pair *pair)
{
	struct ibv_gid_entry entry;
	int i, tries;

	for (tries = 0; tries < 500; tries++) {
		for (i = 0; i < 16; i++) {
			if (ibv_query_gid_ex(pair->ctx, 1, i, &entry, 0) ||
			    entry.gid_type != IBV_GID_TYPE_ROCE_V2 ||
			    memcmp(entry.gid.raw,
				   "\0\0\0\0\0\0\0\0\0\0\377\377", 12))
				continue;
			pair->gid_index = i;
			pair->gid = entry.gid;
			return 0;
		}
		usleep(20000);
	}
	return -ENODEV;
}

static inline int ptv_qp_init(struct ibv_qp *qp)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_INIT,
		.port_num = 1,
		.qp_access_flags = PTV_ALL,
	};

	return -ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX |
			      IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
}

static inline int ptv_qp_receive(struct ptv_pair *pair, struct ibv_qp *qp,
				 uint32_t peer)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTR,
		.path_mtu = IBV_MTU_4096,
		.dest_qp_num = peer,
		.max_dest_rd_atomic = 8,
		.min_rnr_timer = 12,
		.ah_attr = {
			.is_global = 1,
			.port_num = 1,
			.grh = {
				.dgid = pair->gid,
				.sgid_index = pair->gid_index,
				.hop_limit = 64,
			},
		},
	};

	return -ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_AV |
			      IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
			      IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
			      IBV_QP_MIN_RNR_TIMER);
}

static inline int ptv_qp_send(struct ibv_qp *qp)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTS,
		.timeout = 18,		/* one second: the emulator is slow */
		.retry_cnt = 7,
		.rnr_retry = 7,
		.max_rd_atomic = 8,
	};

	return -ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_TIMEOUT |
			      IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
			      IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
}

static inline void ptv_disconnect(struct ptv_pair *pair)
{
	int i;

	for (i = 0; i < 2; i++)
		if (pair->qp[i])
			ibv_destroy_qp(pair->qp[i]);
	pair->qp[0] = NULL;
	pair->qp[1] = NULL;
}

/* Again after an error, which ends the connection. */
static inline int ptv_connect(struct ptv_pair *pair)
{
	struct ibv_qp_init_attr init = {
		.send_cq = pair->cq,
		.recv_cq = pair->cq,
		.qp_type = IBV_QPT_RC,
		.cap = {
			.max_send_wr = 16,
			.max_recv_wr = 16,
			.max_send_sge = 1,
			.max_recv_sge = 1,
		},
	};
	int i, ret = 0;

	ptv_disconnect(pair);
	for (i = 0; i < 2; i++) {
		pair->qp[i] = ibv_create_qp(pair->pd, &init);
		if (!pair->qp[i])
			return -errno;
	}
	for (i = 0; i < 2 && !ret; i++) {
		ret = ptv_qp_init(pair->qp[i]);
		if (!ret)
			ret = ptv_qp_receive(pair, pair->qp[i],
					     pair->qp[!i]->qp_num);
		if (!ret)
			ret = ptv_qp_send(pair->qp[i]);
	}
	return ret;
}

static inline void ptv_close(struct ptv_pair *pair)
{
	ptv_disconnect(pair);
	if (pair->cq)
		ibv_destroy_cq(pair->cq);
	if (pair->pd)
		ibv_dealloc_pd(pair->pd);
	if (pair->ctx)
		ibv_close_device(pair->ctx);
	*pair = (struct ptv_pair){ };
}

static inline int ptv_open_pair(const char *name, struct ptv_pair *pair)
{
	int ret;

	*pair = (struct ptv_pair){ };
	pair->ctx = ptv_open(name);
	if (!pair->ctx)
		return -ENODEV;
	pair->pd = ibv_alloc_pd(pair->ctx);
	pair->cq = ibv_create_cq(pair->ctx, 64, NULL, NULL, 0);
	ret = pair->pd && pair->cq ? ptv_find_gid(pair) : -ENOMEM;
	if (!ret)
		ret = ptv_connect(pair);
	if (ret)
		ptv_close(pair);
	return ret;
}

/* One side of a work request. */
struct ptv_side {
	uint64_t iova;
	uint32_t key;
};

static inline int ptv_post(struct ptv_pair *pair, enum ibv_wr_opcode op,
			   struct ptv_side local, uint32_t len,
			   struct ptv_side remote, uint64_t add_or_compare,
			   uint64_t swap)
{
	struct ibv_sge sge = {
		.addr = local.iova,
		.length = len,
		.lkey = local.key,
	};
	struct ibv_send_wr wr = {
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = op,
		.send_flags = IBV_SEND_SIGNALED,
	}, *bad;

	if (op == IBV_WR_ATOMIC_FETCH_AND_ADD ||
	    op == IBV_WR_ATOMIC_CMP_AND_SWP) {
		wr.wr.atomic.remote_addr = remote.iova;
		wr.wr.atomic.rkey = remote.key;
		wr.wr.atomic.compare_add = add_or_compare;
		wr.wr.atomic.swap = swap;
	} else {
		wr.wr.rdma.remote_addr = remote.iova;
		wr.wr.rdma.rkey = remote.key;
	}
	return -ibv_post_send(pair->qp[0], &wr, &bad);
}

/* The status of the next completion, or -errno. */
static inline int ptv_wait(struct ptv_pair *pair)
{
	struct ibv_wc wc;
	int n;

	while (!(n = ibv_poll_cq(pair->cq, 1, &wc)))
		sched_yield();
	return n < 0 ? -EIO : (int)wc.status;
}

/* IBV_WC_SUCCESS is 0. */
static inline int ptv_rdma(struct ptv_pair *pair, enum ibv_wr_opcode op,
			   struct ptv_side local, uint32_t len,
			   struct ptv_side remote)
{
	int ret = ptv_post(pair, op, local, len, remote, 0, 0);

	return ret ? ret : ptv_wait(pair);
}

#endif /* P2PBUF_TEST_VERBS_H */
