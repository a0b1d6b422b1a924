// SPDX-License-Identifier: GPL-2.0
/*
 * Commands on io_uring: each field of the SQE, several kinds of rings, chains,
 * cancellation, and rings that go away with commands under way. A racy ring's
 * SQEs are changed by another thread while the kernel reads them.
 */
#include <stddef.h>

#include "fuzz.h"

#define ENTRIES		64
#define IN_FLIGHT	256

/* What a CQE is about, in its user_data: kind << 32 | expected bytes. */
enum {
	RING_OTHER,	/* io_uring decides what comes */
	RING_COMMAND,	/* ours: documented errnos, whole length */
	RING_FIXED,	/* ours: documented errnos, nothing else */
	RING_WRONG,	/* ours: one of the documented errnos */
	RING_FIXED_WRONG,
};

/*
 * The I/O table of linux/p2pbuf_nvme.h with the path errors of BIND, and what
 * io_uring itself says of links, rings and descriptors.
 */
static const int io_errnos[] = {
	EINVAL, EFAULT, ENOENT, ENOMEM, EINTR, EDOM, ERANGE, EACCES, EROFS,
	ENODEV, ESTALE, EREMOTEIO, EIO, ENODATA, ETIMEDOUT, EHOSTUNREACH,
	EHOSTDOWN, EADDRNOTAVAIL,
	/* the page cache of the disk is in use */
	EBUSY,
	/* the exporter's own, when it maps the buffer anew */
	ENOSPC, EDQUOT,
	ECANCELED, 0
};

static const unsigned int ring_flags[] = {
	0,
	0,
	IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	IORING_SETUP_IOPOLL,
	IORING_SETUP_SQE128 | IORING_SETUP_CQE32,
	IORING_SETUP_SQPOLL,
};

void fz_ring_close(struct fz_ring *r)
{
	if (r->open)
		io_uring_queue_exit(&r->ring);
	r->open = false;
}

static void ring_open(struct fz_worker *w, struct fz_ring *r)
{
	struct io_uring_params p = { .sq_thread_idle = 1 };
	int files[FZ_NODES], ret;
	unsigned int i;

	p.flags = ring_flags[fz_below(&w->rng, FZ_ARRAY(ring_flags))];
	/* A thread of the kernel's that spins is dear. */
	if (p.flags & IORING_SETUP_SQPOLL && !fz_once_in(&w->rng, 4))
		p.flags = 0;
	ret = io_uring_queue_init_params(ENTRIES, &r->ring, &p);
	fz_done(w, "ring", ret, NULL);
	if (ret)
		return;
	for (i = 0; i < FZ_NODES; i++)
		files[i] = w->node[i];
	io_uring_register_files(&r->ring, files, FZ_NODES);
	io_uring_register_buffers_sparse(&r->ring, FZ_SLOTS);
	r->open = true;
	r->flags = p.flags;
	r->out = 0;
	r->racy = fz_once_in(&w->rng, 8);
}

static __u32 any_length(struct fz_rng *rng)
{
	if (fz_once_in(rng, 8))
		return (__u32)fz_edge(rng);
	if (fz_once_in(rng, 64))
		return (__u32)fz_below(rng, 4096) * 512;
	return (1 + fz_below(rng, 16)) * 512;
}

static void command(struct fz_worker *w, struct io_uring_sqe *sqe, bool fixed)
{
	unsigned int node = fz_below(&w->rng, FZ_NODES);
	struct ptn_io io = {
		.op = fz_once_in(&w->rng, 2) ? PTN_READ : PTN_WRITE,
		.id = fz_any_id(w, node),
		.buf = fz_below(&w->rng, 64) * 512,
		.dev = fz_below(&w->rng, 8192) * 512,
		.len = any_length(&w->rng),
	};

	if (fz_once_in(&w->rng, 8) && w->guard[0].made) {
		node = 0;
		io.id = w->guard[fz_below(&w->rng, FZ_ARRAY(w->guard))].id;
	}
	if (fz_once_in(&w->rng, 16))
		io.buf = fz_edge(&w->rng);
	if (fz_once_in(&w->rng, 16))
		io.dev = fz_edge(&w->rng);
	if (fz_once_in(&w->rng, 8))
		io.flags = io.op == PTN_READ ? P2PBUF_NVME_FLUSH :
					       P2PBUF_NVME_FUA;
	if (fz_once_in(&w->rng, 32))
		io.flags = (__u32)fz_edge(&w->rng);
	if (fz_once_in(&w->rng, 32))
		io.id = (__u32)fz_edge(&w->rng);
	if (fz_once_in(&w->rng, 64))
		io.op = fz_once_in(&w->rng, 2) ? (__u32)fz_next(&w->rng) :
			io.op ^ 1U << fz_below(&w->rng, 32);
	ptn_prep(sqe, fixed ? (int)node : w->node[node], &io);
	if (fixed)
		sqe->flags |= IOSQE_FIXED_FILE;
	sqe->user_data = (__u64)RING_COMMAND << 32 | io.len;
}

/* Fields that a command has no use for, and flags of any request. */
static void spoil(struct fz_worker *w, struct io_uring_sqe *sqe)
{
	switch (fz_below(&w->rng, 12)) {
	case 0:
		sqe->buf_index = fz_edge(&w->rng);
		break;
	case 1:
		sqe->uring_cmd_flags = fz_edge(&w->rng);
		break;
	case 2:
		sqe->personality = fz_edge(&w->rng);
		break;
	case 3:
		sqe->splice_fd_in = fz_edge(&w->rng);
		break;
	case 4:
		sqe->ioprio = fz_edge(&w->rng);
		break;
	case 5:
		sqe->__pad1 = fz_edge(&w->rng);
		break;
	case 6:
		sqe->fd = fz_junk_fd(w);
		break;
	default:
		/* not without a CQE: they are counted */
		sqe->flags ^= 1U << fz_below(&w->rng, 6);
	}
	/* io_uring's word on it, not ours */
	sqe->user_data &= 0xffffffff;
}

static void other_request(struct fz_worker *w, struct io_uring_sqe *sqe)
{
	int node = w->node[fz_below(&w->rng, FZ_NODES)];

	switch (fz_below(&w->rng, 6)) {
	case 0:
		io_uring_prep_nop(sqe);
		break;
	case 1:
		io_uring_prep_cancel64(sqe, (__u64)RING_COMMAND << 32 |
				       any_length(&w->rng),
				       fz_once_in(&w->rng, 2) ?
				       IORING_ASYNC_CANCEL_ANY : 0);
		break;
	case 2:
		io_uring_prep_cancel_fd(sqe, node, IORING_ASYNC_CANCEL_ALL);
		break;
	case 3:
		io_uring_prep_read(sqe, node, w->arena, 512, 0);
		break;
	case 4:
		io_uring_prep_poll_add(sqe, fz_any_buf(w), 0xffff);
		break;
	default:
		io_uring_prep_fsync(sqe, node, 0);
	}
	sqe->user_data = RING_OTHER;
}

static void one_request(struct fz_worker *w, const struct fz_ring *r,
			struct io_uring_sqe *sqe)
{
	switch (fz_below(&w->rng, 48)) {
	case 0 ... 1:
		return other_request(w, sqe);
	case 2 ... 6:
		fz_fixed_command(w, sqe);
		/* A render node is nothing to poll for completions. */
		sqe->user_data = r->flags & IORING_SETUP_IOPOLL ? RING_OTHER :
				 (__u64)RING_FIXED << 32;
		return;
	case 7 ... 8:
		fz_fixed_io(w, sqe);
		sqe->user_data = RING_OTHER;
		return;
	default:
		return command(w, sqe, fz_once_in(&w->rng, 4));
	}
}

/* One thing is not as it must be; the rest is as good as can be. */
static void wrong_io(struct fz_rng *rng, struct ptn_io *io)
{
	switch (fz_below(rng, 9)) {
	case 0:		/* more than a file's bindings */
		io->id = fz_unknown_bit(rng, 0xffff) | fz_below(rng, 65536);
		break;
	case 1:
		io->buf += 1 + fz_below(rng, 3);
		break;
	case 2:
		io->dev += 1 + fz_below(rng, 511);
		break;
	case 3:
		io->len += 1 + fz_below(rng, 511);
		break;
	case 4:
		io->len = 0;
		break;
	case 5:		/* behind every buffer, or round the corner */
		io->buf = -(1 + fz_below(rng, 1 << 20)) * PTN_PAGE;
		break;
	case 6:
		io->dev = -(1 + fz_below(rng, 1 << 20)) * PTN_PAGE;
		break;
	case 7:
		io->flags = fz_once_in(rng, 8) ?
			    (io->op == PTN_READ ? P2PBUF_NVME_FUA :
						  P2PBUF_NVME_FLUSH) :
			    fz_unknown_bit(rng, 3);
		break;
	default:
		io->op ^= fz_unknown_bit(rng, 1);
	}
}

static void wrong_request(struct fz_worker *w, const struct fz_ring *r,
			  struct io_uring_sqe *sqe)
{
	unsigned int node = fz_below(&w->rng, FZ_NODES);
	struct ptn_io io = {
		.op = fz_once_in(&w->rng, 2) ? PTN_READ : PTN_WRITE,
		.id = fz_any_id(w, node),
		.buf = fz_below(&w->rng, 64) * 512,
		.dev = fz_below(&w->rng, 8192) * 512,
		.len = (1 + fz_below(&w->rng, 16)) * 512,
	};

	if (fz_once_in(&w->rng, 8)) {
		fz_fixed_wrong(w, sqe);
		sqe->user_data = r->flags & IORING_SETUP_IOPOLL ? RING_OTHER :
				 (__u64)RING_FIXED_WRONG << 32;
		return;
	}
	/* mostly a binding that is there: refused for what is wrong */
	if (w->guard[0].made && !fz_once_in(&w->rng, 4)) {
		node = 0;
		io.id = w->guard[fz_below(&w->rng, FZ_ARRAY(w->guard))].id;
	}
	wrong_io(&w->rng, &io);
	ptn_prep(sqe, node, &io);
	sqe->flags |= IOSQE_FIXED_FILE;
	sqe->user_data = (__u64)RING_WRONG << 32;
}

static void ring_fill(struct fz_worker *w, struct fz_ring *r,
		      unsigned int n)
{
	struct io_uring_sqe *sqe;

	while (n--) {
		sqe = io_uring_get_sqe(&r->ring);
		if (!sqe)
			return;
		one_request(w, r, sqe);
		if (fz_once_in(&w->rng, 8))
			sqe->flags |= 1U << (1 + fz_below(&w->rng, 4));
		if (fz_once_in(&w->rng, 16))
			spoil(w, sqe);
		if (r->racy)
			sqe->user_data = RING_OTHER;
		r->out++;
	}
}

/*
 * What the other thread does to struct arguments, here in step with the
 * submission: all but what says which request it is.
 */
static void ring_race(struct fz_worker *w, struct fz_ring *r)
{
	size_t size = r->flags & IORING_SETUP_SQE128 ? 128 : 64;
	char *sqes = (char *)r->ring.sq.sqes;
	unsigned int i;

	for (i = 0; i < 16; i++) {
		char *sqe = sqes + fz_below(&w->rng, ENTRIES) * size;

		/* addr and len, or the command's bytes */
		if (fz_once_in(&w->rng, 2))
			sqe[16 + fz_below(&w->rng, 12)] = fz_next(&w->rng);
		else
			sqe[48 + fz_below(&w->rng, size - 48)] =
				fz_next(&w->rng);
	}
}

static void ring_reap(struct fz_worker *w, struct fz_ring *r)
{
	struct io_uring_cqe *cqe;
	unsigned int head, n = 0;

	io_uring_for_each_cqe(&r->ring, head, cqe) {
		__u32 len = (__u32)cqe->user_data;

		n++;
		switch (cqe->user_data >> 32) {
		case RING_COMMAND:
			fz_done(w, "command", cqe->res, io_errnos);
			break;
		case RING_FIXED:
			fz_done(w, "command, fixed", cqe->res,
				fz_fixed_errnos);
			break;
		case RING_WRONG:
			fz_refused(w, "command, wrong", cqe->res, io_errnos);
			continue;
		case RING_FIXED_WRONG:
			fz_refused(w, "command, fixed, wrong", cqe->res,
				   fz_fixed_errnos);
			continue;
		default:
			fz_done(w, "request, other", cqe->res, NULL);
			continue;
		}
		if (cqe->res >= 0 && (__u32)cqe->res != len)
			fz_broken("a command for %u bytes ended with %d", len,
				  cqe->res);
	}
	io_uring_cq_advance(&r->ring, n);
	r->out -= n < r->out ? n : r->out;
}

/* One of them, open; NULL when that cannot be. */
static struct fz_ring *any_ring(struct fz_worker *w)
{
	struct fz_ring *r = &w->ring[fz_below(&w->rng, FZ_RINGS)];
	bool other = fz_once_in(&w->rng, 256);

	if (fz->no_slots)
		fz_fixed_empty(r);
	if (!r->open || other || r->out > IN_FLIGHT) {
		/* with whatever is under way */
		fz_ring_close(r);
		ring_open(w, r);
	}
	return r->open ? r : NULL;
}

void fz_ring_wrong(struct fz_worker *w)
{
	struct fz_ring *r = any_ring(w);
	struct io_uring_sqe *sqe;

	if (!r)
		return;
	while ((sqe = io_uring_get_sqe(&r->ring))) {
		wrong_request(w, r, sqe);
		r->out++;
	}
	io_uring_submit_and_get_events(&r->ring);
	ring_reap(w, r);
}

void fz_ring(struct fz_worker *w)
{
	unsigned int n = 1 + fz_below(&w->rng, 32);
	struct fz_ring *r = any_ring(w);

	if (!r)
		return;
	ring_fill(w, r, n);
	if (r->racy && r->flags & IORING_SETUP_SQPOLL) {
		io_uring_submit(&r->ring);
		ring_race(w, r);
	}
	io_uring_submit_and_get_events(&r->ring);
	if (r->racy)
		ring_race(w, r);
	ring_reap(w, r);
}
