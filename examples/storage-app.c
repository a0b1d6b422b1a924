// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The storage half of the demo: owns the disk and an io_uring, gets the memory
 * from somebody else. Connects to gpu-app, receives a dma-buf, binds it to the
 * namespace, and moves bytes between the two as it is told.
 */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <liburing.h>

#include "demo.h"

#define CONNECT_TRIES	300	/* of 100 ms */
#define PROGRESS_NS	500000000ull

static const char *socket_path = "/tmp/p2pbuf-demo";
static const char *device;
static unsigned int queue_depth = 32;
static uint64_t io_bytes = 1 << 20;

struct transfer {
	const struct demo_request *req;
	uint64_t queued;
	uint64_t done;
	unsigned int in_flight;
	uint64_t told_ns;
};

static void say(const char *fmt, ...)
{
	va_list ap;

	printf("storage-app: ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

static int connect_to(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int sock, tries;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return -errno;
	for (tries = 0; tries < CONNECT_TRIES; tries++) {
		if (!connect(sock, (struct sockaddr *)&addr, sizeof(addr)))
			return sock;
		if (errno != ENOENT && errno != ECONNREFUSED)
			break;
		usleep(100000);
	}
	close(sock);
	return -errno;
}

static const char *op_name(uint32_t op)
{
	return op == DEMO_READ ? "read" : "write";
}

static int queue_more(struct io_uring *ring, struct p2pbuf_binding *binding,
		      struct transfer *t, struct p2pbuf_error *error)
{
	const struct demo_request *req = t->req;
	bool reading = req->op == DEMO_READ;
	struct io_uring_sqe *sqe;
	uint64_t at, left, len;
	int ret;

	while (t->queued < req->length && t->in_flight < queue_depth) {
		at = t->queued;
		left = req->length - at;
		len = left < io_bytes ? left : io_bytes;
		/* Before an SQE is taken: it could not be given back. */
		ret = p2pbuf_check(binding, reading ? P2PBUF_READ : P2PBUF_WRITE,
				   at, len, req->disk_offset + at, 0, error);
		if (ret < 0)
			return ret;
		sqe = io_uring_get_sqe(ring);
		if (reading)
			p2pbuf_prep_read(sqe, binding, at, len,
					 req->disk_offset + at, P2PBUF_FLUSH);
		else
			p2pbuf_prep_write(sqe, binding, at, len,
					  req->disk_offset + at, 0);
		io_uring_sqe_set_data64(sqe, len);
		t->queued += len;
		t->in_flight++;
	}
	return 0;
}

static int complete_some(struct io_uring *ring, struct p2pbuf_binding *binding,
			 struct transfer *t, struct p2pbuf_error *error)
{
	struct io_uring_cqe *cqe;
	int ret = 0;

	while (!io_uring_peek_cqe(ring, &cqe)) {
		t->in_flight--;
		if (cqe->res < 0) {
			ret = cqe->res;
			p2pbuf_explain(binding, cqe->res, error);
		} else if ((uint64_t)cqe->res != io_uring_cqe_get_data64(cqe)) {
			ret = -EIO;
			snprintf(error->text, sizeof(error->text),
				 "a completion says %d bytes of %llu", cqe->res,
				 (unsigned long long)io_uring_cqe_get_data64(cqe));
		} else {
			t->done += cqe->res;
		}
		io_uring_cqe_seen(ring, cqe);
	}
	return ret;
}

static void tell_progress(struct p2pbuf_binding *binding, struct transfer *t,
			  uint64_t start_ns)
{
	struct p2pbuf_bind_info info = { .size = sizeof(info) };
	uint64_t now = now_ns();

	if (now - t->told_ns < PROGRESS_NS || t->done == t->req->length)
		return;
	t->told_ns = now;
	if (p2pbuf_bind_info(binding, &info) < 0)
		return;
	say("  %-5s %4.0f of %.0f MiB, %.0f MiB/s, path %s", op_name(t->req->op),
	    t->done / MIB, t->req->length / MIB,
	    mib_s(t->done, now - start_ns), p2pbuf_path_name(info.path.path));
}

/* All of one request, and nothing left in flight whatever happens. */
static int transfer(struct io_uring *ring, struct p2pbuf_binding *binding,
		    const struct demo_request *req, struct demo_reply *reply,
		    struct p2pbuf_error *error)
{
	struct transfer t = { .req = req };
	int ret = 0, err;

	reply->start_ns = now_ns();
	t.told_ns = reply->start_ns;
	do {
		if (!ret)
			ret = queue_more(ring, binding, &t, error);
		err = io_uring_submit_and_wait(ring, t.in_flight ? 1 : 0);
		if (err < 0 && err != -EINTR)
			return err;
		err = complete_some(ring, binding, &t, error);
		if (err < 0)
			ret = err;
		if (!ret)
			tell_progress(binding, &t, reply->start_ns);
	} while (t.in_flight || (!ret && t.done < req->length));
	reply->end_ns = now_ns();

	return ret;
}

static void fill_reply(struct demo_reply *reply, int result, const char *text)
{
	reply->result = result;
	snprintf(reply->text, sizeof(reply->text), "%s", text);
}

static void tell_done(const struct demo_request *req,
		      const struct demo_reply *reply, uint64_t moves)
{
	char detour[96] = "";

	if (reply->bytes_system)
		snprintf(detour, sizeof(detour),
			 ", %.0f of them while the buffer was in host memory",
			 reply->bytes_system / MIB);
	say("  %-5s %.0f MiB, %.0f MiB/s%s; %llu moves met, path now %s",
	    op_name(req->op), req->length / MIB,
	    mib_s(req->length, reply->end_ns - reply->start_ns), detour,
	    (unsigned long long)moves, p2pbuf_path_name(reply->path));
}

static int serve_one(struct io_uring *ring, struct p2pbuf_binding *binding,
		     const struct demo_request *req, struct demo_reply *reply)
{
	struct p2pbuf_error error = { .size = sizeof(error) };
	struct p2pbuf_bind_info before = { .size = sizeof(before) };
	struct p2pbuf_bind_info after = { .size = sizeof(after) };
	int ret;

	ret = p2pbuf_bind_info(binding, &before);
	if (!ret)
		ret = transfer(ring, binding, req, reply, &error);
	if (!ret)
		ret = p2pbuf_bind_info(binding, &after);
	fill_reply(reply, ret, error.text);
	if (ret < 0)
		return ret;

	reply->path = after.path.path;
	reply->bytes_peer = after.bytes_peer - before.bytes_peer;
	reply->bytes_system = after.bytes_system - before.bytes_system;
	tell_done(req, reply, after.invalidations - before.invalidations);

	return 0;
}

static int serve(int sock, struct io_uring *ring, struct p2pbuf_binding *binding)
{
	struct demo_request req;
	struct demo_reply reply;
	ssize_t n;
	int ret;

	for (;;) {
		n = recv(sock, &req, sizeof(req), 0);
		if (n <= 0)
			return n ? -errno : 0;	/* gpu-app is done */
		if (n != sizeof(req) ||
		    (req.op != DEMO_READ && req.op != DEMO_WRITE))
			return -EPROTO;
		memset(&reply, 0, sizeof(reply));
		ret = serve_one(ring, binding, &req, &reply);
		if (send(sock, &reply, sizeof(reply), MSG_NOSIGNAL) < 0)
			return -errno;
		if (ret < 0)
			return ret;
	}
}

/* From the socket to a binding, telling gpu-app how it went. */
static int set_up(int sock, int disk, struct io_uring *ring,
		  struct p2pbuf_binding **binding)
{
	struct p2pbuf_error error = { .size = sizeof(error) };
	struct p2pbuf_meta meta = { .size = sizeof(meta) };
	struct p2pbuf_bind_info info = { .size = sizeof(info) };
	struct demo_reply reply = { .result = 0 };
	struct p2pbuf_bind_opts opts = { .size = sizeof(opts) };
	struct p2pbuf_buffer *buf;
	int ret;

	ret = p2pbuf_recv(sock, &buf, &meta, &error);
	if (ret < 0) {
		say("no buffer: %s", error.text);
		return ret;
	}
	say("got %.0f MiB named '%s' from process %d of user %u",
	    meta.length / MIB, meta.name, meta.pid, meta.uid);

	opts.offset = meta.offset;
	opts.length = meta.length;
	ret = p2pbuf_bind(ring, buf, disk, &opts, binding, &error);
	/* The binding has a reference of its own. */
	p2pbuf_free(buf);
	if (!ret) {
		ret = p2pbuf_bind_info(*binding, &info);
		reply.path = info.path.path;
		snprintf(error.text, sizeof(error.text), "%s", info.why);
	}
	say("%s: path %s: %s", device, ret ? "none" :
	    p2pbuf_path_name(info.path.path), error.text);
	fill_reply(&reply, ret, error.text);
	if (send(sock, &reply, sizeof(reply), MSG_NOSIGNAL) < 0)
		return -errno;

	return ret;
}

static int usage(const char *name)
{
	fprintf(stderr,
		"usage: %s --device NAMESPACE [--socket PATH] [--queue-depth N] [--block BYTES]\n",
		name);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "device", required_argument, NULL, 'd' },
		{ "socket", required_argument, NULL, 's' },
		{ "queue-depth", required_argument, NULL, 'q' },
		{ "block", required_argument, NULL, 'b' },
		{ NULL, 0, NULL, 0 },
	};
	struct p2pbuf_binding *binding = NULL;
	struct io_uring ring;
	int opt, sock, disk, ret;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'd')
			device = optarg;
		else if (opt == 's')
			socket_path = optarg;
		else if (opt == 'q')
			queue_depth = strtoul(optarg, NULL, 0);
		else if (opt == 'b')
			io_bytes = strtoull(optarg, NULL, 0);
		else
			return usage(argv[0]);
	}
	if (!device || optind != argc || !queue_depth || !io_bytes)
		return usage(argv[0]);

	sock = connect_to(socket_path);
	if (sock < 0) {
		say("cannot connect to %s: %s", socket_path, strerror(-sock));
		return 1;
	}
	disk = open(device, O_RDWR | O_CLOEXEC);
	if (disk < 0) {
		say("cannot open %s: %s", device, strerror(errno));
		return 1;
	}
	ret = io_uring_queue_init(queue_depth, &ring,
				  IORING_SETUP_SINGLE_ISSUER |
				  IORING_SETUP_DEFER_TASKRUN);
	if (ret < 0) {
		say("no io_uring: %s", strerror(-ret));
		return 1;
	}
	ret = set_up(sock, disk, &ring, &binding);
	if (!ret)
		ret = serve(sock, &ring, binding);
	p2pbuf_unbind(binding);
	io_uring_queue_exit(&ring);

	return ret ? 1 : 0;
}
