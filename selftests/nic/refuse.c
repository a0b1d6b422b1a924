// SPDX-License-Identifier: GPL-2.0
/*
 * Verbs that are refused.
 *
 * The nth call of one of the verbs below that the kernel makes is not carried out,
 * once; it says what a device says that has run out of something. So whoever uses
 * the NIC can be led through each way on which a device lets him down. No fault
 * injection is needed for that, any kernel will do. Counted is each verb by itself:
 * in which order two ends call different ones is nobody's to say.
 *
 * Never refused: what belongs to users' or to ib_mad's own queue pairs, and what a
 * queue pair needs to end, which a device has to be able to do.
 */
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#include <rdma/ib_verbs.h>

#include "rxe.h"
#include "rxe_loc.h"

/* How the verbs are carried out; written before the device is registered. */
static struct {
	struct ib_mr *(*alloc_mr)(struct ib_pd *pd, enum ib_mr_type type,
				  u32 max_sg);
	int (*alloc_pd)(struct ib_pd *pd, struct ib_udata *udata);
	int (*create_cq)(struct ib_cq *cq, const struct ib_cq_init_attr *attr,
			 struct uverbs_attr_bundle *attrs);
	int (*create_qp)(struct ib_qp *qp, struct ib_qp_init_attr *attr,
			 struct ib_udata *udata);
	int (*map_mr_sg)(struct ib_mr *mr, struct scatterlist *sg, int nents,
			 unsigned int *offset);
	int (*modify_qp)(struct ib_qp *qp, struct ib_qp_attr *attr, int mask,
			 struct ib_udata *udata);
	int (*post_recv)(struct ib_qp *qp, const struct ib_recv_wr *wr,
			 const struct ib_recv_wr **bad);
	int (*post_send)(struct ib_qp *qp, const struct ib_send_wr *wr,
			 const struct ib_send_wr **bad);
} p2pbuf_nic_real;

static const char * const p2pbuf_nic_verbs[] = {
	"alloc_pd", "create_cq", "create_qp", "modify_qp", "alloc_mr",
	"map_mr_sg", "post_recv", "post_send",
};

/**
 * struct p2pbuf_nic_refusal - what is refused next
 * @lock: see below
 * @verb: a name of p2pbuf_nic_verbs[], or "none"
 * @calls: of @verb until the one that is refused, counting that; 0: it was
 */
struct p2pbuf_nic_refusal {
	/* Of the rest; taken in any context. */
	spinlock_t lock;
	const char *verb;
	unsigned int calls;
};

static struct p2pbuf_nic_refusal p2pbuf_nic_refusal = {
	.lock = __SPIN_LOCK_UNLOCKED(p2pbuf_nic_refusal.lock),
	.verb = "none",
};

/* "none", or a verb and which of its calls from now on, from 1. */
static int p2pbuf_nic_refuse_set(const char *text,
				 const struct kernel_param *kp)
{
	struct p2pbuf_nic_refusal *r = &p2pbuf_nic_refusal;
	const char *verb = "none";
	unsigned int calls = 0;
	char name[16];
	int i;

	if (!sysfs_streq(text, verb)) {
		if (sscanf(text, "%15s %u", name, &calls) != 2 || !calls)
			return -EINVAL;
		i = match_string(p2pbuf_nic_verbs,
				 ARRAY_SIZE(p2pbuf_nic_verbs), name);
		if (i < 0)
			return i;
		verb = p2pbuf_nic_verbs[i];
	}
	guard(spinlock_irqsave)(&r->lock);
	r->verb = verb;
	r->calls = calls;
	return 0;
}

/* The verb that was refused. */
static int p2pbuf_nic_refuse_get(char *text, const struct kernel_param *kp)
{
	struct p2pbuf_nic_refusal *r = &p2pbuf_nic_refusal;

	guard(spinlock_irqsave)(&r->lock);
	return sysfs_emit(text, "%s\n", r->calls ? "none" : r->verb);
}

static const struct kernel_param_ops p2pbuf_nic_refuse_ops = {
	.set = p2pbuf_nic_refuse_set,
	.get = p2pbuf_nic_refuse_get,
};
module_param_cb(refuse, &p2pbuf_nic_refuse_ops, NULL, 0644);
MODULE_PARM_DESC(refuse,
		 "a verb and which of its calls from now on, or none; reads as the verb once it was refused");

static bool p2pbuf_nic_refuses(const char *verb)
{
	struct p2pbuf_nic_refusal *r = &p2pbuf_nic_refusal;

	guard(spinlock_irqsave)(&r->lock);
	return r->calls && !strcmp(r->verb, verb) && !--r->calls;
}

/* Of a kernel module's queue pair that is not on its way to the end. */
static bool p2pbuf_nic_refuses_qp(struct ib_qp *qp, const char *verb)
{
	return qp->qp_type == IB_QPT_RC && !qp->uobject &&
	       qp_state(to_rqp(qp)) != IB_QPS_ERR && p2pbuf_nic_refuses(verb);
}

static int p2pbuf_nic_alloc_pd(struct ib_pd *pd, struct ib_udata *udata)
{
	if (!udata && p2pbuf_nic_refuses("alloc_pd"))
		return -ENOMEM;
	return p2pbuf_nic_real.alloc_pd(pd, udata);
}

static int p2pbuf_nic_create_cq(struct ib_cq *cq,
				const struct ib_cq_init_attr *attr,
				struct uverbs_attr_bundle *attrs)
{
	if (!attrs && p2pbuf_nic_refuses("create_cq"))
		return -ENOMEM;
	return p2pbuf_nic_real.create_cq(cq, attr, attrs);
}

static int p2pbuf_nic_create_qp(struct ib_qp *qp, struct ib_qp_init_attr *attr,
				struct ib_udata *udata)
{
	if (!udata && attr->qp_type == IB_QPT_RC &&
	    p2pbuf_nic_refuses("create_qp"))
		return -ENOMEM;
	return p2pbuf_nic_real.create_qp(qp, attr, udata);
}

static int p2pbuf_nic_modify_qp(struct ib_qp *qp, struct ib_qp_attr *attr,
				int mask, struct ib_udata *udata)
{
	if (!(mask & IB_QP_STATE && attr->qp_state == IB_QPS_ERR) &&
	    p2pbuf_nic_refuses_qp(qp, "modify_qp"))
		return -ENOMEM;
	return p2pbuf_nic_real.modify_qp(qp, attr, mask, udata);
}

static struct ib_mr *p2pbuf_nic_alloc_mr(struct ib_pd *pd,
					 enum ib_mr_type type, u32 max_sg)
{
	if (p2pbuf_nic_refuses("alloc_mr"))
		return ERR_PTR(-ENOMEM);
	return p2pbuf_nic_real.alloc_mr(pd, type, max_sg);
}

static int p2pbuf_nic_map_mr_sg(struct ib_mr *mr, struct scatterlist *sg,
				int nents, unsigned int *offset)
{
	if (p2pbuf_nic_refuses("map_mr_sg"))
		return -ENOMEM;
	return p2pbuf_nic_real.map_mr_sg(mr, sg, nents, offset);
}

static int p2pbuf_nic_post_send(struct ib_qp *qp, const struct ib_send_wr *wr,
				const struct ib_send_wr **bad)
{
	if (p2pbuf_nic_refuses_qp(qp, "post_send")) {
		*bad = wr;
		return -ENOMEM;
	}
	return p2pbuf_nic_real.post_send(qp, wr, bad);
}

static int p2pbuf_nic_post_recv(struct ib_qp *qp, const struct ib_recv_wr *wr,
				const struct ib_recv_wr **bad)
{
	if (p2pbuf_nic_refuses_qp(qp, "post_recv")) {
		*bad = wr;
		return -ENOMEM;
	}
	return p2pbuf_nic_real.post_recv(qp, wr, bad);
}

/**
 * p2pbuf_nic_refuse_init() - stand in front of a device's verbs
 * @dev: the device, before it is registered; all have the same verbs
 *
 * Not by ib_set_device_ops(), which keeps what is there.
 */
void p2pbuf_nic_refuse_init(struct ib_device *dev)
{
	p2pbuf_nic_real.alloc_mr = dev->ops.alloc_mr;
	p2pbuf_nic_real.alloc_pd = dev->ops.alloc_pd;
	p2pbuf_nic_real.create_cq = dev->ops.create_cq;
	p2pbuf_nic_real.create_qp = dev->ops.create_qp;
	p2pbuf_nic_real.map_mr_sg = dev->ops.map_mr_sg;
	p2pbuf_nic_real.modify_qp = dev->ops.modify_qp;
	p2pbuf_nic_real.post_recv = dev->ops.post_recv;
	p2pbuf_nic_real.post_send = dev->ops.post_send;

	dev->ops.alloc_mr = p2pbuf_nic_alloc_mr;
	dev->ops.alloc_pd = p2pbuf_nic_alloc_pd;
	dev->ops.create_cq = p2pbuf_nic_create_cq;
	dev->ops.create_qp = p2pbuf_nic_create_qp;
	dev->ops.map_mr_sg = p2pbuf_nic_map_mr_sg;
	dev->ops.modify_qp = p2pbuf_nic_modify_qp;
	dev->ops.post_recv = p2pbuf_nic_post_recv;
	dev->ops.post_send = p2pbuf_nic_post_send;
}
