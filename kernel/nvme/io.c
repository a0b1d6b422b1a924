// SPDX-License-Identifier: GPL-2.0
/*
 * Io: one command, from the SQE to the CQE.
 *
 * Order of things
 * ---------------
 * 1. the SQE is parsed, once, into struct p2pbuf_nvme_io
 * 2. a hold on the binding, for as long as the I/O lasts
 * 3. the page cache of the block device is brought in line
 * 4. a request: may sleep for a tag or for a frozen queue
 * 5. the namespace is checked, which the held request keeps from changing
 *    (its limits change only while the queue is frozen)
 * 6. last, the active reference of the mapping; from here to the interrupt
 *    nothing sleeps or allocates, because the exporter may be waiting
 * 7. the command gets its data pointer and is executed, with others of its
 *    submission, past the plug that io_uring collects requests in: batch.c
 * 8. in the interrupt: errno, counters, both let go of, then task work for
 *    the CQE
 *
 * With IO_URING_F_NONBLOCK any step that would sleep gives -EAGAIN, with
 * nothing done yet; io_uring then calls again from a worker, where each step
 * may sleep and a mapping that ended is made anew. The user sees neither.
 *
 * The hold must not live until the task work: a thread that unbinds would wait
 * for task work that only itself can run.
 *
 * The fast path
 * -------------
 * io_fast() is the same order of things for the command as it should be: one
 * request, no flags, nothing to wait for, no error. At the first thing that is
 * not so it undoes what it did, and the general path begins anew and finds out
 * what is to be reported. So it has no errors of its own, keeps what it knows
 * in registers and is compiled once for each direction; figures are in
 * Documentation/performance.rst.
 */
#include <linux/file.h>
#include <linux/pagemap.h>
#include "nvme.h"

/* @known: flags that may be set. */
static __always_inline int io_parse(struct io_uring_cmd *ioucmd,
				    struct p2pbuf_nvme_io *io, bool write,
				    u32 known)
{
	const struct io_uring_sqe *sqe = ioucmd->sqe;
	const struct p2pbuf_nvme_cmd *cmd =
		io_uring_sqe_cmd(sqe, struct p2pbuf_nvme_cmd);

	/* Shared with user space: each field is read once. */
	io->offset = READ_ONCE(sqe->addr);
	io->length = READ_ONCE(sqe->len);
	io->dev_offset = READ_ONCE(cmd->dev_offset);
	io->id = READ_ONCE(cmd->id);
	io->flags = READ_ONCE(cmd->flags);
	io->write = write;
	/* Fields we have no use for; io_uring looks at the others. */
	if (unlikely(READ_ONCE(sqe->buf_index) | READ_ONCE(sqe->splice_fd_in) |
		     (io->flags & ~known) |
		     (ioucmd->flags & IORING_URING_CMD_MASK)))
		return -EINVAL;
	return 0;
}

static __always_inline int io_check(const struct p2pbuf_nvme_binding *b,
				    const struct p2pbuf_nvme_io *io)
{
	u32 block_mask = b->ns.lba_size - 1;
	u32 right = io->write ? P2PBUF_NVME_RIGHT_WRITE :
				P2PBUF_NVME_RIGHT_READ;
	u64 end, dev_end;

	if (unlikely(!io->length || (io->length | io->dev_offset) & block_mask ||
		     io->offset & 3))
		return -EDOM;
	if (unlikely(check_add_overflow(io->offset, io->length, &end) ||
		     end > b->length ||
		     check_add_overflow(io->dev_offset, io->length, &dev_end) ||
		     dev_end > b->ns.bytes))
		return -ERANGE;
	if (unlikely(!(b->rights & right)))
		return -EACCES;
	if (unlikely(io->write && bdev_read_only(b->ns.bdev)))
		return -EROFS;
	return 0;
}

/* Would io_cache_flush() have anything to do? Does not sleep. */
static inline bool io_cache_dirty(struct p2pbuf_nvme_binding *b,
				  const struct p2pbuf_nvme_io *io)
{
	struct address_space *cache = b->ns.cache;

	if (likely(!READ_ONCE(cache->nrpages)))
		return false;
	if (io->write)
		return filemap_range_has_page(cache, io->dev_offset,
					      io->dev_offset + io->length - 1);
	return mapping_tagged(cache, PAGECACHE_TAG_DIRTY) ||
	       mapping_tagged(cache, PAGECACHE_TAG_WRITEBACK);
}

/*
 * Somebody uses the device through the page cache: what they wrote goes to
 * the device first, and what a write is about to replace is forgotten.
 */
static int io_cache_flush(struct p2pbuf_nvme_binding *b,
			  const struct p2pbuf_nvme_io *io)
{
	struct address_space *cache = b->ns.cache;
	u64 last = io->dev_offset + io->length - 1;
	int ret;

	if (!io_cache_dirty(b, io))
		return 0;
	ret = filemap_write_and_wait_range(cache, io->dev_offset, last);
	if (ret || !io->write)
		return ret;
	return invalidate_inode_pages2_range(cache,
					     io->dev_offset >> PAGE_SHIFT,
					     last >> PAGE_SHIFT);
}

/*
 * A request for @io, or an ERR_PTR: -EAGAIN when it would have to sleep and
 * may not, -ENODEV, -ESTALE. No reference on a mapping is held.
 */
static __always_inline struct request *
io_alloc(struct p2pbuf_nvme_binding *b, const struct p2pbuf_nvme_io *io,
	 unsigned int issue_flags)
{
	blk_opf_t opf = io->write ? REQ_OP_DRV_OUT : REQ_OP_DRV_IN;
	blk_mq_req_flags_t flags = 0;
	struct request *req;

	if (issue_flags & IO_URING_F_NONBLOCK) {
		opf |= REQ_NOWAIT;
		flags = BLK_MQ_REQ_NOWAIT;
	}
	if (issue_flags & IO_URING_F_IOPOLL)
		opf |= REQ_POLLED;
	req = blk_mq_alloc_request(b->ns.queue, opf, flags);
	if (IS_ERR(req))
		return req;
	if (unlikely(!p2pbuf_nvme_ns_unchanged(&b->ns))) {
		blk_mq_free_request(req);
		return ERR_PTR(get_capacity(b->ns.bdev->bd_disk) ? -ESTALE :
								  -ENODEV);
	}
	return req;
}

struct request *p2pbuf_nvme_io_alloc(struct p2pbuf_nvme_binding *b,
				     const struct p2pbuf_nvme_io *io,
				     unsigned int issue_flags)
{
	return io_alloc(b, io, issue_flags);
}

/* Does the binding take a mapping of this kind? */
static inline bool io_mapping_ok(const struct p2pbuf_nvme_binding *b,
				 const struct p2pbuf_mapping *m)
{
	return likely(!m->system) || !(b->flags & P2PBUF_NVME_BIND_PEER_ONLY);
}

/*
 * The active reference, or an ERR_PTR: -EAGAIN without a mapping, -ENODEV,
 * -EREMOTEIO for host memory where the binding insists on peer memory.
 */
struct p2pbuf_mapping *p2pbuf_nvme_mapping_get(struct p2pbuf_nvme_binding *b)
{
	struct p2pbuf_mapping *m = p2pbuf_mapping_get(b->att);

	if (unlikely(!m))
		return ERR_PTR(p2pbuf_attachment_is_revoked(b->att) ? -ENODEV :
								     -EAGAIN);
	if (unlikely(!io_mapping_ok(b, m))) {
		p2pbuf_mapping_put(m);
		return ERR_PTR(-EREMOTEIO);
	}
	return m;
}

static int io_try(struct p2pbuf_nvme_binding *b,
		  const struct p2pbuf_nvme_io *io, unsigned int issue_flags,
		  struct request **reqp, struct p2pbuf_mapping **mp)
{
	struct p2pbuf_mapping *m;
	struct request *req;

	req = p2pbuf_nvme_io_alloc(b, io, issue_flags);
	if (IS_ERR(req))
		return PTR_ERR(req);
	m = p2pbuf_nvme_mapping_get(b);
	if (IS_ERR(m)) {
		blk_mq_free_request(req);
		return PTR_ERR(m);
	}
	*reqp = req;
	*mp = m;
	return 0;
}

/*
 * Where sleeping is allowed: a request and, last, the active reference. The
 * request is given back before waiting for a mapping, the queue may be frozen
 * meanwhile.
 */
int p2pbuf_nvme_io_wait(struct p2pbuf_nvme_binding *b,
			const struct p2pbuf_nvme_io *io,
			struct request **reqp, struct p2pbuf_mapping **mp)
{
	int ret;

	do {
		ret = io_try(b, io, 0, reqp, mp);
		if (ret != -EAGAIN)
			return ret;
		ret = p2pbuf_attachment_map(b->att);
	} while (!ret);
	return ret == -ERESTARTSYS ? -EINTR : ret;
}

/* The active reference is held: turn @req into the command. */
static __always_inline void io_prepare(struct p2pbuf_nvme_binding *b,
				       const struct p2pbuf_nvme_io *io,
				       struct request *req)
{
	struct nvme_command *cmd = p2pbuf_nvme_request_command(req);
	const struct p2pbuf_nvme_ns *ns = &b->ns;
	u16 blocks = (io->length >> ns->lba_shift % 32) - 1;
	u16 control = io->write && io->flags & P2PBUF_NVME_FUA ? NVME_RW_FUA : 0;

	/* All of it: the request's last command is still in there. */
	cmd->rw.opcode = io->write ? nvme_cmd_write : nvme_cmd_read;
	cmd->rw.flags = 0;
	cmd->rw.command_id = 0;
	cmd->rw.nsid = cpu_to_le32(ns->nsid);
	cmd->rw.cdw2 = 0;
	cmd->rw.cdw3 = 0;
	cmd->rw.metadata = 0;
	p2pbuf_nvme_table_point(b->table, b->offset + io->offset, io->length,
				&cmd->rw.dptr);
	cmd->rw.slba = cpu_to_le64(ns->lba_base +
				   (io->dev_offset >> ns->lba_shift % 64));
	/* Number of blocks and control, at once. */
	cmd->common.cdw12 = cpu_to_le32(blocks | (u32)control << 16);
	cmd->common.cdw13 = 0;
	cmd->common.cdw14 = 0;
	cmd->common.cdw15 = 0;
	p2pbuf_nvme_request_prepare(req, cmd);
}

void p2pbuf_nvme_io_prepare(struct p2pbuf_nvme_binding *b,
			    const struct p2pbuf_nvme_io *io,
			    struct request *req)
{
	io_prepare(b, io, req);
}

static void io_task_work(struct io_tw_req tw_req, io_tw_token_t tw)
{
	struct io_uring_cmd *ioucmd = io_uring_cmd_from_tw(tw_req);
	struct p2pbuf_nvme_pdu *pdu =
		io_uring_cmd_to_pdu(ioucmd, struct p2pbuf_nvme_pdu);

	io_uring_cmd_done(ioucmd, pdu->res, IO_URING_CMD_TASK_WORK_ISSUE_FLAGS);
}

/* Also after an error: part of the write may have been done. */
static void io_task_work_forget(struct io_tw_req tw_req, io_tw_token_t tw)
{
	struct io_uring_cmd *ioucmd = io_uring_cmd_from_tw(tw_req);
	struct p2pbuf_nvme_pdu *pdu =
		io_uring_cmd_to_pdu(ioucmd, struct p2pbuf_nvme_pdu);
	u64 last = pdu->pos + pdu->bytes - 1;

	invalidate_inode_pages2_range(pdu->stale->f_mapping,
				      pdu->pos >> PAGE_SHIFT,
				      last >> PAGE_SHIFT);
	fput(pdu->stale);
	io_task_work(tw_req, tw);
}

/*
 * The I/O is over. Returns what is left to task work. Any context, with a hold
 * on the binding.
 */
static __always_inline io_req_tw_func_t io_finish(struct io_uring_cmd *ioucmd,
						  struct p2pbuf_nvme_binding *b,
						  u64 pos, u32 bytes, bool write)
{
	struct p2pbuf_nvme_pdu *pdu =
		io_uring_cmd_to_pdu(ioucmd, struct p2pbuf_nvme_pdu);
	io_req_tw_func_t then = io_task_work;

	WRITE_ONCE(pdu->queue, BLK_QC_T_NONE);
	/* Pages read in while the write was on its way may be the old ones. */
	if (write && unlikely(READ_ONCE(b->ns.cache->nrpages))) {
		pdu->stale = get_file(b->ns.file);
		pdu->pos = pos;
		pdu->bytes = bytes;
		then = io_task_work_forget;
	}
	return then;
}

/* With a hold on the binding, which is let go of. Any context. */
void p2pbuf_nvme_io_complete(struct io_uring_cmd *ioucmd,
			     struct p2pbuf_nvme_binding *b, u64 pos, u32 bytes,
			     s32 res, bool write)
{
	struct p2pbuf_nvme_pdu *pdu =
		io_uring_cmd_to_pdu(ioucmd, struct p2pbuf_nvme_pdu);
	io_req_tw_func_t then = io_finish(ioucmd, b, pos, bytes, write);

	pdu->res = res;
	p2pbuf_nvme_binding_put(b);
	io_uring_cmd_do_in_task_lazy(ioucmd, then);
}

/* First byte of the command on the bound device, from the command itself. */
static u64 io_position(struct p2pbuf_nvme_binding *b, struct request *req)
{
	return (p2pbuf_nvme_request_lba(req) - b->ns.lba_base) <<
	       b->ns.lba_shift;
}

/* Is the ring polled, and polling right now? */
static inline bool io_polled_by(struct io_uring_cmd *ioucmd,
				const struct io_comp_batch *iob)
{
	struct p2pbuf_nvme_pdu *pdu =
		io_uring_cmd_to_pdu(ioucmd, struct p2pbuf_nvme_pdu);

	return iob && iob->poll_ctx == io_uring_cmd_ctx_handle(ioucmd) &&
	       pdu->queue != BLK_QC_T_NONE;
}

static __always_inline
enum rq_end_io_ret io_end_lazy(struct request *req, blk_status_t err,
			       bool write)
{
	struct io_uring_cmd *ioucmd = req->end_io_data;
	struct p2pbuf_nvme_pdu *pdu =
		io_uring_cmd_to_pdu(ioucmd, struct p2pbuf_nvme_pdu);
	struct p2pbuf_nvme_binding *b = pdu->binding;
	struct p2pbuf_nvme_counters __percpu *c = b->counters;
	struct p2pbuf_mapping *m = pdu->mapping;
	int ret = p2pbuf_nvme_request_errno(req, err);
	io_req_tw_func_t then;
	u32 bytes = pdu->res;

	p2pbuf_nvme_io_account(c, m, write, ret, bytes);
	if (unlikely(ret))
		pdu->res = ret;
	/* The mapping outlives the binding for as long as it is active. */
	then = io_finish(ioucmd, b, write ? io_position(b, req) : 0, bytes,
			 write);
	p2pbuf_nvme_counters_put(c);
	p2pbuf_mapping_put(m);
	io_uring_cmd_do_in_task_lazy(ioucmd, then);
	return RQ_END_IO_FREE;
}

/* Polled by the ring itself: the CQE can be posted right here. */
static noinline enum rq_end_io_ret io_end_polled(struct request *req,
						 blk_status_t err, bool write)
{
	struct io_uring_cmd *ioucmd = req->end_io_data;
	struct p2pbuf_nvme_pdu *pdu =
		io_uring_cmd_to_pdu(ioucmd, struct p2pbuf_nvme_pdu);
	struct p2pbuf_nvme_binding *b = pdu->binding;
	struct p2pbuf_nvme_counters __percpu *c = b->counters;
	struct p2pbuf_mapping *m = pdu->mapping;
	int ret = p2pbuf_nvme_request_errno(req, err);
	u32 bytes = pdu->res;

	p2pbuf_nvme_io_account(c, m, write, ret, bytes);
	p2pbuf_nvme_counters_put(c);
	p2pbuf_mapping_put(m);
	io_uring_cmd_done(ioucmd, ret ?: (s32)bytes, 0);
	return RQ_END_IO_FREE;
}

/* Pages that a write has to make forgotten are forgotten by task work. */
static __always_inline
enum rq_end_io_ret io_end(struct request *req, blk_status_t err,
			  const struct io_comp_batch *iob, bool write)
{
	struct io_uring_cmd *ioucmd = req->end_io_data;
	struct p2pbuf_nvme_pdu *pdu =
		io_uring_cmd_to_pdu(ioucmd, struct p2pbuf_nvme_pdu);

	if (unlikely(io_polled_by(ioucmd, iob)) &&
	    !(write && READ_ONCE(pdu->binding->ns.cache->nrpages)))
		return io_end_polled(req, err, write);
	return io_end_lazy(req, err, write);
}

static enum rq_end_io_ret io_end_read(struct request *req, blk_status_t err,
				      const struct io_comp_batch *iob)
{
	return io_end(req, err, iob, false);
}

static enum rq_end_io_ret io_end_write(struct request *req, blk_status_t err,
				       const struct io_comp_batch *iob)
{
	return io_end(req, err, iob, true);
}

/* A read whose data has to have arrived. */
static enum rq_end_io_ret io_end_flush(struct request *req, blk_status_t err,
				       const struct io_comp_batch *iob)
{
	struct io_uring_cmd *ioucmd = req->end_io_data;

	p2pbuf_mapping_flush(io_uring_cmd_to_pdu(ioucmd,
						 struct p2pbuf_nvme_pdu)->mapping);
	return io_end_read(req, err, iob);
}

/* Everything that the end of the I/O will look at. */
static __always_inline void io_arm(struct io_uring_cmd *ioucmd,
				   struct p2pbuf_nvme_binding *b,
				   const struct p2pbuf_nvme_io *io,
				   struct request *req,
				   struct p2pbuf_mapping *m)
{
	struct p2pbuf_nvme_pdu *pdu =
		io_uring_cmd_to_pdu(ioucmd, struct p2pbuf_nvme_pdu);

	/* A worker's command on a polled ring is not polled. */
	pdu->queue = req->mq_hctx->type == HCTX_TYPE_POLL ?
			     req->mq_hctx->queue_num : BLK_QC_T_NONE;
	pdu->mapping = m;
	pdu->binding = b;
	pdu->res = io->length;
	pdu->id = io->id;
	req->end_io_data = ioucmd;
	if (io->write)
		req->end_io = io_end_write;
	else if (io->flags & P2PBUF_NVME_FLUSH)
		req->end_io = io_end_flush;
	else
		req->end_io = io_end_read;
}

static int io_submit(struct io_uring_cmd *ioucmd,
		     struct p2pbuf_nvme_binding *b,
		     const struct p2pbuf_nvme_io *io, unsigned int issue_flags)
{
	struct file *file = ioucmd->file;
	struct p2pbuf_mapping *m;
	struct request *req;
	int ret;

	if (issue_flags & IO_URING_F_NONBLOCK)
		ret = io_try(b, io, issue_flags, &req, &m);
	else
		ret = p2pbuf_nvme_io_wait(b, io, &req, &m);
	if (ret)
		return ret;
	io_arm(ioucmd, b, io, req, m);
	p2pbuf_nvme_io_prepare(b, io, req);
	/* Reference and hold are the request's now, which may be over. */
	p2pbuf_nvme_batch_add(file, req);
	return -EIOCBQUEUED;
}

/* With a hold on the binding, which is kept if -EIOCBQUEUED is returned. */
static int io_start(struct io_uring_cmd *ioucmd, struct p2pbuf_nvme_binding *b,
		    struct p2pbuf_nvme_io *io, unsigned int issue_flags)
{
	int ret;

	ret = io_check(b, io);
	if (ret)
		return ret;
	/* The CQE could not tell. */
	if (io->length > INT_MAX)
		return -ERANGE;
	if (issue_flags & IO_URING_F_NONBLOCK) {
		if (io_cache_dirty(b, io))
			return -EAGAIN;
	} else {
		ret = io_cache_flush(b, io);
		if (ret)
			return ret;
	}
	if (io->length > b->ns.max_io)
		return p2pbuf_nvme_split_submit(ioucmd, b, io, issue_flags);
	return io_submit(ioucmd, b, io, issue_flags);
}

static noinline int io_general(struct io_uring_cmd *ioucmd,
			       unsigned int issue_flags)
{
	struct p2pbuf_nvme_file *file = ioucmd->file->private_data;
	struct p2pbuf_nvme_binding *b;
	struct p2pbuf_nvme_io io;
	int ret;

	switch (ioucmd->cmd_op) {
	case P2PBUF_NVME_URING_READ:
		ret = io_parse(ioucmd, &io, false, P2PBUF_NVME_FLUSH);
		break;
	case P2PBUF_NVME_URING_WRITE:
		ret = io_parse(ioucmd, &io, true, P2PBUF_NVME_FUA);
		break;
	default:
		ret = -EINVAL;
	}
	if (ret)
		return ret;
	b = p2pbuf_nvme_binding_get(file, io.id);
	if (!b)
		return -ENOENT;
	ret = io_start(ioucmd, b, &io, issue_flags);
	if (ret != -EIOCBQUEUED) {
		if (ret == -EAGAIN)
			this_cpu_inc(b->counters->deferred);
		p2pbuf_nvme_binding_put(b);
	}
	return ret;
}

/*
 * True when the command is on its way, false with nothing done. Nothing in
 * here sleeps, so one RCU read section keeps the binding and the mapping until
 * both are held; to end it there and not below would cost more.
 */
static __always_inline bool io_fast(struct io_uring_cmd *ioucmd,
				    unsigned int issue_flags, bool write)
{
	struct file *file = ioucmd->file;
	struct p2pbuf_nvme_binding *b;
	struct p2pbuf_mapping *m;
	struct p2pbuf_nvme_io io;
	struct request *req;

	if (unlikely(io_parse(ioucmd, &io, write, 0)))
		return false;
	rcu_read_lock();
	b = p2pbuf_nvme_binding_find(file->private_data, io.id);
	if (unlikely(!b || io_check(b, &io) || io_cache_dirty(b, &io) ||
		     io.length > b->ns.max_io))
		goto unlock;
	req = io_alloc(b, &io, issue_flags);
	if (IS_ERR(req))
		goto unlock;
	m = p2pbuf_mapping_get_rcu(b->att);
	if (unlikely(!m))
		goto free_request;
	if (unlikely(!io_mapping_ok(b, m)))
		goto put_mapping;
	p2pbuf_nvme_binding_hold(b);
	io_arm(ioucmd, b, &io, req, m);
	io_prepare(b, &io, req);
	p2pbuf_nvme_batch_add(file, req);
	rcu_read_unlock();
	return true;

put_mapping:
	p2pbuf_mapping_put(m);
free_request:
	blk_mq_free_request(req);
unlock:
	rcu_read_unlock();
	return false;
}

/**
 * p2pbuf_nvme_uring_cmd - IORING_OP_URING_CMD on the node
 * @ioucmd: the command
 * @issue_flags: as io_uring gives them
 *
 * Return: -EIOCBQUEUED when the CQE will come; -EAGAIN, only with
 * IO_URING_F_NONBLOCK and with nothing begun, to be called again from a
 * worker; else the errno for the CQE.
 */
int p2pbuf_nvme_uring_cmd(struct io_uring_cmd *ioucmd,
			  unsigned int issue_flags)
{
	u32 op = ioucmd->cmd_op;

	if (likely(issue_flags & IO_URING_F_NONBLOCK)) {
		if (op == P2PBUF_NVME_URING_READ &&
		    likely(io_fast(ioucmd, issue_flags, false)))
			return -EIOCBQUEUED;
		if (op == P2PBUF_NVME_URING_WRITE &&
		    likely(io_fast(ioucmd, issue_flags, true)))
			return -EIOCBQUEUED;
	}
	return io_general(ioucmd, issue_flags);
}

/**
 * p2pbuf_nvme_uring_cmd_iopoll - look for completions of a polled command
 * @ioucmd: the command
 * @iob: collects them
 * @poll_flags: for the block layer
 *
 * Looks at the hardware queue and not at the request: that may end and be
 * freed at any time, because whoever polls the queue completes all that is in
 * it. A hold on the binding keeps the disk meanwhile; without a binding the
 * command is past its I/O, or the binding is being ended by somebody who
 * polls.
 *
 * Looks once, and leaves it to io_uring to look again: what ends the command
 * may be task work of the one who polls.
 *
 * Return: how many completions were found, as bio_poll().
 */
int p2pbuf_nvme_uring_cmd_iopoll(struct io_uring_cmd *ioucmd,
				 struct io_comp_batch *iob,
				 unsigned int poll_flags)
{
	struct p2pbuf_nvme_pdu *pdu =
		io_uring_cmd_to_pdu(ioucmd, struct p2pbuf_nvme_pdu);
	struct p2pbuf_nvme_file *file = ioucmd->file->private_data;
	struct p2pbuf_nvme_binding *b;
	blk_qc_t queue;
	int ret = 0;

	if (READ_ONCE(pdu->queue) == BLK_QC_T_NONE)
		return 0;
	b = p2pbuf_nvme_binding_get(file, pdu->id);
	if (!b)
		return 0;
	/* Still under way, so it is the binding of that id that we hold. */
	queue = READ_ONCE(pdu->queue);
	if (queue != BLK_QC_T_NONE)
		ret = p2pbuf_nvme_queue_poll(&b->ns, queue, iob,
					     poll_flags | BLK_POLL_ONESHOT);
	p2pbuf_nvme_binding_put(b);
	return ret;
}
