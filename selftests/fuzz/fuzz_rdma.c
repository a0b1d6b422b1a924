// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/p2pbuf-rdma: ioctls and commands on both ends of a connection, over
 * stock rxe, while the common buffers move. Each worker has a connection of
 * its own and makes a new one now and then, or when it was lost. Limits are
 * short: what is parked or not given back is soon over.
 */
#include <signal.h>
#include <stddef.h>

#include "p2pbuf_test_rdma.h"
#include "fuzz.h"

#define ENTRIES		32
#define IN_FLIGHT	128
#define IDS		8	/* of MAX_BUFFERS: so that both ends mean the same */
#define RECALL_MS	2000
#define WAIT_MS		200
#define CONNECT_MS	5000

/* The tables of linux/p2pbuf_rdma.h; what concerns every call comes first. */
static const int connect_errnos[] = {
	EINVAL, E2BIG, EFAULT, ENOMEM, EINTR, ENOTCONN, ENODEV,
	EISCONN, EAFNOSUPPORT, EBADF, EBADFD, EOPNOTSUPP, ETIMEDOUT,
	ECONNREFUSED, ECONNABORTED, EPROTO,
	/* rdma_cm's word on the address */
	EADDRINUSE, EADDRNOTAVAIL, EACCES, ENOBUFS, ENFILE, 0
};

static const int import_errnos[] = {
	EINVAL, E2BIG, EFAULT, ENOMEM, EINTR, ENOTCONN, ENODEV,
	EBADF, EBADFD, EDOM, ERANGE, EFBIG, EEXIST, EMFILE,
	EOPNOTSUPP, EREMOTEIO, EHOSTUNREACH, EHOSTDOWN, EADDRNOTAVAIL, ENODATA,
	/* the exporter's own */
	EBUSY, ENOSPC, EDQUOT, 0
};

static const int id_errnos[] = {
	EINVAL, E2BIG, EFAULT, ENOMEM, EINTR, ENOTCONN, ENODEV,
	ENOENT, EACCES, EALREADY, ETIMEDOUT, 0
};

static const int io_errnos[] = {
	EINVAL, E2BIG, EFAULT, ENOMEM, EINTR, ENOTCONN, ENODEV,
	ENOENT, EDOM, ERANGE, EACCES, ESTALE, ETIMEDOUT, ECONNRESET,
	ECANCELED, EREMOTEIO, EIO,
	/* when the exporter moved the buffer */
	EOPNOTSUPP, EHOSTUNREACH, EHOSTDOWN, EADDRNOTAVAIL, ENODATA, EBUSY,
	ENOSPC, EDQUOT, 0
};

/* ---- both ends --------------------------------------------------------------- */

struct call {
	int fd;
	__u16 port;
	int ret;
};

static const struct p2pbuf_rdma_limits limits = {
	.recall_ms = RECALL_MS, .wait_ms = WAIT_MS,
};

static void *call(void *arg)
{
	struct call *c = arg;
	struct p2pbuf_rdma_connect connect = {
		.size = sizeof(connect),
		.addr = ptd_address(c->port),
		.timeout_ms = CONNECT_MS,
		.limits = limits,
	};

	c->ret = ptd_ioctl(c->fd, P2PBUF_RDMA_CONNECT, &connect);
	return NULL;
}

static void rdma_close(struct fz_rdma *r)
{
	unsigned int i;

	if (!r->open)
		return;
	io_uring_queue_exit(&r->ring);
	for (i = 0; i < FZ_ENDS; i++)
		close(r->end[i]);
	close(r->listener);
	r->open = false;
}

static long rdma_connect(struct fz_rdma *r)
{
	struct p2pbuf_rdma_accept accept = {
		.size = sizeof(accept),
		.listen_fd = r->listener,
		.timeout_ms = CONNECT_MS,
		.limits = limits,
	};
	struct call c = { .fd = r->end[0] };
	pthread_t thread;
	int ret;

	ret = ptd_listen(r->listener);
	if (ret < 0)
		return ret;
	c.port = ret;
	ret = pthread_create(&thread, NULL, call, &c);
	if (ret)
		return -ret;
	ret = ptd_ioctl(r->end[1], P2PBUF_RDMA_ACCEPT, &accept);
	pthread_join(thread, NULL);
	return ret ? ret : c.ret;
}

/* Other threads have it blocked: they were there before, or are soon over. */
static void interruptible(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* What is open stays open if they do not come together: that is a state too. */
static void rdma_open(struct fz_worker *w)
{
	struct fz_rdma *r = &w->rdma;
	unsigned int i;

	interruptible();
	if (io_uring_queue_init(ENTRIES, &r->ring, IORING_SETUP_SQE128))
		return;
	r->listener = ptd_open();
	for (i = 0; i < FZ_ENDS; i++)
		r->end[i] = ptd_open();
	r->open = true;
	r->out = 0;
	fz_done(w, "rdma: connect", rdma_connect(r), connect_errnos);
}

/* ---- ioctls ------------------------------------------------------------------ */

static int any_end(struct fz_worker *w)
{
	if (fz_once_in(&w->rng, 32))
		return w->rdma.listener;
	return w->rdma.end[fz_below(&w->rng, FZ_ENDS)];
}

static __u32 any_id(struct fz_worker *w)
{
	if (fz_once_in(&w->rng, 32))
		return (__u32)fz_edge(&w->rng);
	return 1 + fz_below(&w->rng, IDS);
}

/* A time limit may have become any number: nothing lasts longer than a second. */
static void rdma_call(struct fz_worker *w, const char *name,
		      unsigned long request, const void *arg, size_t size,
		      const int *allowed)
{
	void *place = fz_argument(w, arg, size, &request, &allowed);
	int ret;

	alarm(1);
	ret = ptd_ioctl(any_end(w), request, place);
	alarm(0);
	fz_done(w, name, ret, allowed);
}

/* Another one on a file that is something already, or soon over. */
static void rdma_state(struct fz_worker *w)
{
	static const struct fz_field listen_fields[] = {
		FZ_FIELD(struct p2pbuf_rdma_listen, flags),
		FZ_FIELD(struct p2pbuf_rdma_listen, addr.scope_id),
	};
	static const struct fz_field accept_fields[] = {
		FZ_FIELD(struct p2pbuf_rdma_accept, flags),
		FZ_FIELD(struct p2pbuf_rdma_accept, limits.recall_ms),
		FZ_FIELD(struct p2pbuf_rdma_accept, limits.wait_ms),
	};
	struct p2pbuf_rdma_listen listen = {
		.size = sizeof(listen), .addr = ptd_address(0),
	};
	struct p2pbuf_rdma_accept accept = {
		.size = sizeof(accept), .limits = limits,
		.listen_fd = fz_once_in(&w->rng, 4) ? fz_junk_fd(w) :
						      w->rdma.listener,
	};
	struct p2pbuf_rdma_connect connect = {
		.size = sizeof(connect), .limits = limits, .timeout_ms = 20,
		.addr = ptd_address(fz_below(&w->rng, 65536)),
	};
	struct p2pbuf_rdma_shutdown shutdown = {
		.size = sizeof(shutdown), .flags = fz_once_in(&w->rng, 16),
	};

	if (fz_once_in(&w->rng, 8))
		return rdma_call(w, "rdma: SHUTDOWN", P2PBUF_RDMA_SHUTDOWN,
				 &shutdown, sizeof(shutdown), connect_errnos);
	switch (fz_below(&w->rng, 4)) {
	case 0:
		fz_mutate(&w->rng, &listen, listen_fields,
			  FZ_ARRAY(listen_fields));
		return rdma_call(w, "rdma: LISTEN", P2PBUF_RDMA_LISTEN,
				 &listen, sizeof(listen), connect_errnos);
	case 1:
		fz_mutate(&w->rng, &accept, accept_fields,
			  FZ_ARRAY(accept_fields));
		return rdma_call(w, "rdma: ACCEPT", P2PBUF_RDMA_ACCEPT,
				 &accept, sizeof(accept), connect_errnos);
	default:
		if (fz_once_in(&w->rng, 2))
			connect.addr.family = fz_edge(&w->rng);
		return rdma_call(w, "rdma: CONNECT", P2PBUF_RDMA_CONNECT,
				 &connect, sizeof(connect), connect_errnos);
	}
}

static void rdma_import(struct fz_worker *w)
{
	static const struct fz_field fields[] = {
		FZ_FIELD(struct p2pbuf_rdma_import, flags),
		FZ_FIELD(struct p2pbuf_rdma_import, id),
		FZ_FIELD(struct p2pbuf_rdma_import, offset),
		FZ_FIELD(struct p2pbuf_rdma_import, length),
		FZ_FIELD(struct p2pbuf_rdma_import, rights),
		FZ_FIELD(struct p2pbuf_rdma_import, path.generation),
		FZ_FIELD(struct p2pbuf_rdma_import, reserved[0]),
		FZ_FIELD(struct p2pbuf_rdma_import, reserved[1]),
	};
	struct p2pbuf_rdma_import arg = {
		.size = sizeof(arg),
		.flags = !fz_once_in(&w->rng, 8),
		.dmabuf_fd = fz_any_buf(w),
		.id = any_id(w),
	};

	if (fz_once_in(&w->rng, 4)) {
		arg.offset = fz_below(&w->rng, 16) * PTN_PAGE;
		arg.length = fz_below(&w->rng, 16) * PTN_PAGE;
	}
	fz_mutate(&w->rng, &arg, fields, FZ_ARRAY(fields));
	rdma_call(w, "rdma: IMPORT", P2PBUF_RDMA_IMPORT, &arg, sizeof(arg),
		  import_errnos);
}

static void rdma_grant(struct fz_worker *w)
{
	struct p2pbuf_rdma_grant grant = {
		.size = sizeof(grant), .id = any_id(w),
		.rights = fz_once_in(&w->rng, 16) ? (__u32)fz_edge(&w->rng) :
						    1 + fz_below(&w->rng, 3),
		.flags = fz_once_in(&w->rng, 32),
	};

	rdma_call(w, "rdma: GRANT", P2PBUF_RDMA_GRANT, &grant, sizeof(grant),
		  id_errnos);
}

static void rdma_take_back(struct fz_worker *w)
{
	struct p2pbuf_rdma_recall recall = {
		.size = sizeof(recall), .id = any_id(w),
	};
	struct p2pbuf_rdma_release release = {
		.size = sizeof(release), .id = any_id(w),
	};

	if (fz_once_in(&w->rng, 2))
		rdma_call(w, "rdma: RECALL", P2PBUF_RDMA_RECALL, &recall,
			  sizeof(recall), id_errnos);
	else
		rdma_call(w, "rdma: RELEASE", P2PBUF_RDMA_RELEASE, &release,
			  sizeof(release), id_errnos);
}

static void rdma_ask(struct fz_worker *w)
{
	struct p2pbuf_rdma_info info = { .size = sizeof(info) };
	struct p2pbuf_rdma_buffer_info buffer = {
		.size = sizeof(buffer), .id = any_id(w),
	};
	struct p2pbuf_rdma_remote_info remote = {
		.size = sizeof(remote), .id = any_id(w),
		.timeout_ms = fz_below(&w->rng, 4),
	};
	struct p2pbuf_rdma_cancel cancel = {
		.size = sizeof(cancel), .flags = fz_once_in(&w->rng, 32),
		.user_data = w->rdma.last,
	};

	switch (fz_below(&w->rng, 5)) {
	case 0:
		return rdma_call(w, "rdma: INFO", P2PBUF_RDMA_INFO, &info,
				 sizeof(info), id_errnos);
	case 1:
		return rdma_call(w, "rdma: CANCEL", P2PBUF_RDMA_CANCEL,
				 &cancel, sizeof(cancel), id_errnos);
	case 2:
		return rdma_call(w, "rdma: BUFFER_INFO",
				 P2PBUF_RDMA_BUFFER_INFO, &buffer,
				 sizeof(buffer), id_errnos);
	default:
		return rdma_call(w, "rdma: REMOTE_INFO",
				 P2PBUF_RDMA_REMOTE_INFO, &remote,
				 sizeof(remote), id_errnos);
	}
}

/* ---- commands ---------------------------------------------------------------- */

/* A CQE's user_data: the number of bytes that success means, or this. */
#define ANY_RESULT	(1ULL << 32)
#define WRONG		(4 * ANY_RESULT)

static void rdma_command(struct fz_worker *w)
{
	static const struct fz_field fields[] = {
		FZ_FIELD(struct p2pbuf_rdma_cmd, local_offset),
		FZ_FIELD(struct p2pbuf_rdma_cmd, remote_offset),
		FZ_FIELD(struct p2pbuf_rdma_cmd, length),
		FZ_FIELD(struct p2pbuf_rdma_cmd, flags),
		FZ_FIELD(struct p2pbuf_rdma_cmd, imm),
		FZ_FIELD(struct p2pbuf_rdma_cmd, epoch),
	};
	static const __u32 ops[] = {
		P2PBUF_RDMA_URING_READ, P2PBUF_RDMA_URING_READ,
		P2PBUF_RDMA_URING_WRITE, P2PBUF_RDMA_URING_WRITE,
		P2PBUF_RDMA_URING_WRITE_IMM, P2PBUF_RDMA_URING_FLUSH,
	};
	__u32 op = ops[fz_below(&w->rng, FZ_ARRAY(ops))];
	struct p2pbuf_rdma_cmd cmd = {
		.local_id = any_id(w), .remote_id = any_id(w),
		.local_offset = fz_below(&w->rng, 4 * PTN_PAGE),
		.remote_offset = fz_below(&w->rng, 4 * PTN_PAGE),
		.length = 1 + fz_below(&w->rng, 8 * PTN_PAGE),
		.epoch = fz_once_in(&w->rng, 8) ? fz_below(&w->rng, 8) : 0,
	};
	__u64 data;

	if (op == P2PBUF_RDMA_URING_WRITE_IMM)
		cmd.imm = fz_below(&w->rng, 1U << P2PBUF_RDMA_IMM_BITS);
	else if (op == P2PBUF_RDMA_URING_READ)
		cmd.flags = fz_below(&w->rng, 2);	/* FLUSH or not */
	else if (op == P2PBUF_RDMA_URING_FLUSH)
		cmd = (struct p2pbuf_rdma_cmd){ .remote_id = cmd.remote_id };
	if (fz_once_in(&w->rng, 16)) {
		/* for the WRITE_IMMs of the other end, or for nobody */
		op = P2PBUF_RDMA_URING_RECV;
		memset(&cmd, 0, sizeof(cmd));
	}
	fz_mutate(&w->rng, &cmd, fields, FZ_ARRAY(fields));
	data = op == P2PBUF_RDMA_URING_RECV ? ANY_RESULT :
	       op == P2PBUF_RDMA_URING_FLUSH ? 0 : (__u32)cmd.length;
	if (fz_once_in(&w->rng, 64)) {
		op ^= 1U << fz_below(&w->rng, 32);
		data = 2 * ANY_RESULT;
	}
	ptd_prep(&w->rdma.ring, any_end(w), op, &cmd, data);
	w->rdma.last = data;
	w->rdma.out++;
}

static void rdma_reap(struct fz_worker *w)
{
	struct fz_rdma *r = &w->rdma;
	struct io_uring_cqe *cqe;
	unsigned int head, n = 0;

	io_uring_for_each_cqe(&r->ring, head, cqe) {
		n++;
		if (cqe->user_data == WRONG) {
			fz_refused(w, "rdma: command, wrong", cqe->res,
				   io_errnos);
			continue;
		}
		fz_done(w, "rdma: command", cqe->res,
			cqe->user_data == 2 * ANY_RESULT ? NULL : io_errnos);
		if (cqe->res >= 0 && cqe->user_data < ANY_RESULT &&
		    (__u32)cqe->res != cqe->user_data)
			fz_broken("an RDMA command for %llu bytes ended with %d",
				  (unsigned long long)cqe->user_data, cqe->res);
	}
	io_uring_cq_advance(&r->ring, n);
	r->out -= n < r->out ? n : r->out;
}

static void rdma_commands(struct fz_worker *w)
{
	unsigned int n = 1 + fz_below(&w->rng, ENTRIES / 2);

	while (n--)
		rdma_command(w);
	io_uring_submit_and_get_events(&w->rdma.ring);
	rdma_reap(w);
}

/* ---- what must be refused ---------------------------------------------------- */

static __u32 wrong_id(struct fz_worker *w)
{
	return fz_once_in(&w->rng, 8) ? 0 :
	       P2PBUF_RDMA_MAX_BUFFERS + 1 + fz_below(&w->rng, 1 << 20);
}

static void command_wrong(struct fz_worker *w)
{
	struct p2pbuf_rdma_cmd cmd = {
		.local_id = any_id(w), .remote_id = any_id(w),
		.length = PTN_PAGE,
	};
	__u32 op = fz_once_in(&w->rng, 2) ? P2PBUF_RDMA_URING_READ :
					    P2PBUF_RDMA_URING_WRITE;

	switch (fz_below(&w->rng, 7)) {
	case 0:
		cmd.local_id = wrong_id(w);
		break;
	case 1:
		cmd.remote_id = wrong_id(w);
		break;
	case 2:
		cmd.length = fz_once_in(&w->rng, 8) ? 0 :
			     P2PBUF_RDMA_MAX_LENGTH + 1 +
			     (fz_next(&w->rng) >> 1);
		break;
	case 3:
		cmd.local_offset = -1 - fz_below(&w->rng, 1ULL << 40);
		break;
	case 4:
		cmd.flags = fz_unknown_bit(&w->rng, P2PBUF_RDMA_FLUSH);
		break;
	case 5:		/* not a WRITE_IMM's */
		cmd.imm = 1U << fz_below(&w->rng, 32);
		break;
	default:
		op ^= fz_unknown_bit(&w->rng, 7);
	}
	ptd_prep(&w->rdma.ring, w->rdma.end[fz_below(&w->rng, FZ_ENDS)], op,
		 &cmd, WRONG);
	w->rdma.out++;
}

static void import_wrong(struct fz_worker *w, int end)
{
	struct p2pbuf_rdma_import arg = {
		.size = sizeof(arg),
		.flags = P2PBUF_RDMA_IMPORT_ALLOW_SYSTEM,
		.dmabuf_fd = fz_common[fz_below(&w->rng, FZ_COMMON)],
		.id = any_id(w),
	};

	switch (fz_below(&w->rng, 6)) {
	case 0:
		arg.flags |= fz_unknown_bit(&w->rng, 1);
		break;
	case 1:
		arg.dmabuf_fd = w->junk[fz_below(&w->rng, FZ_JUNK)];
		break;
	case 2:
		arg.id = wrong_id(w) | P2PBUF_RDMA_MAX_BUFFERS << 1;
		break;
	case 3:
		arg.offset = 1 + fz_below(&w->rng, PTN_PAGE - 1);
		break;
	case 4:
		arg.length = -(1 + fz_below(&w->rng, 1 << 20)) * PTN_PAGE;
		arg.offset = fz_below(&w->rng, 16) * PTN_PAGE;
		break;
	default:
		arg.reserved[fz_below(&w->rng, 2)] =
			1ULL << fz_below(&w->rng, 64);
	}
	fz_ioctl_refused(w, "rdma: IMPORT, wrong", end, P2PBUF_RDMA_IMPORT,
			 &arg, sizeof(arg), import_errnos);
}

static void grant_wrong(struct fz_worker *w, int end)
{
	struct p2pbuf_rdma_grant arg = {
		.size = sizeof(arg), .id = any_id(w),
		.rights = P2PBUF_RDMA_RIGHT_READ,
	};

	switch (fz_below(&w->rng, 3)) {
	case 0:
		arg.id = wrong_id(w);
		break;
	case 1:
		arg.rights = fz_unknown_bit(&w->rng, 3);
		break;
	default:
		arg.flags = 1U << fz_below(&w->rng, 32);
	}
	fz_ioctl_refused(w, "rdma: GRANT, wrong", end, P2PBUF_RDMA_GRANT,
			 &arg, sizeof(arg), id_errnos);
}

static void ask_wrong(struct fz_worker *w, int end)
{
	struct p2pbuf_rdma_buffer_info arg = {
		.size = sizeof(arg), .id = wrong_id(w),
	};

	fz_ioctl_refused(w, "rdma: BUFFER_INFO, wrong", end,
			 P2PBUF_RDMA_BUFFER_INFO, &arg, sizeof(arg), id_errnos);
}

void fz_rdma_wrong(struct fz_worker *w)
{
	unsigned int i;
	int end;

	if (!w->rdma.open)
		rdma_open(w);
	if (!w->rdma.open)
		return;
	end = w->rdma.end[fz_below(&w->rng, FZ_ENDS)];
	switch (fz_below(&w->rng, 8)) {
	case 0:
		for (i = 0; i < ENTRIES; i++)
			command_wrong(w);
		io_uring_submit_and_get_events(&w->rdma.ring);
		return rdma_reap(w);
	case 1 ... 3:
		return import_wrong(w, end);
	case 4 ... 5:
		return grant_wrong(w, end);
	default:
		return ask_wrong(w, end);
	}
}

/* ---- all ---------------------------------------------------------------------- */

void fz_rdma(struct fz_worker *w)
{
	struct p2pbuf_rdma_info info;

	/* or stay with what has ended */
	if (w->rdma.open &&
	    (fz_once_in(&w->rng, 1024) || w->rdma.out > IN_FLIGHT ||
	     (fz_once_in(&w->rng, 16) &&
	      (ptd_info(w->rdma.end[0], &info) ||
	       info.state != P2PBUF_RDMA_UP))))
		rdma_close(&w->rdma);
	if (!w->rdma.open)
		rdma_open(w);
	if (!w->rdma.open)
		return;
	switch (fz_below(&w->rng, 32)) {
	case 0 ... 4:
		return rdma_import(w);
	case 5 ... 9:
		return rdma_grant(w);
	case 10 ... 11:
		return rdma_take_back(w);
	case 12:
		return rdma_state(w);
	case 13 ... 15:
		return rdma_ask(w);
	default:
		return rdma_commands(w);
	}
}

static void nothing(int sig __attribute__((unused)))
{
}

/* Before any process or thread is made. */
bool fz_rdma_begin(void)
{
	struct sigaction action = { .sa_handler = nothing };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigaction(SIGALRM, &action, NULL);
	return !access(PTD_NODE, F_OK) && !ptd_net_make();
}

void fz_rdma_end(void)
{
	ptd_net_unmake();
}
