// SPDX-License-Identifier: GPL-2.0
/*
 * p2pbuf-pair serve ADDRESS [PORT]
 * p2pbuf-pair call ADDRESS [PORT]
 *
 * RDMA between two machines on a network that is not well: packets lost, late
 * and in the wrong order, and the link down in the middle of a recall. One
 * machine serves until the other, which leads, says that all is done; see
 * ci/check-rdma.
 *
 * What a network may do to packets is done to those that leave a machine, by
 * netem on its network device ($P2PBUF_PAIR_NETDEV, or eth0). Meanwhile the
 * exporters on both machines move their memory, the caller writes a pattern to
 * the server's buffer, reads it back to another place, and compares each byte.
 * No request may fail.
 *
 *	buffer 1	of the mock exporter; moves
 *	buffer 2	a page for what the server has to report
 */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "p2pbuf_test_rig.h"
#include "p2pbuf_test_mock.h"
#include "p2pbuf_test_plug.h"
#include "p2pbuf_test_rdma.h"

#define BUFFER		(2 * PTD_MIB + 262144)	/* two segments */
#define NOTE		65536ull
#define SLOT		8192ull
#define SLOTS		16
#define LANDING		PTD_MIB
#define ROUNDS		3
#define MOVE_US		50000		/* between two moves */
#define PORT		7472
#define SECONDS		300
#define RECALL_MS	3000		/* of the connection that is lost */

/* What the caller tells the server, as immediate data. */
enum { BEGIN = 1, END, QUIT, BYE };

#define WEATHER(_name, _netem)	{ .name = _name, .netem = _netem }

static const struct weather {
	const char *name;
	const char *netem;
} weathers[] = {
	WEATHER("fair", ""),
	WEATHER("loss", "loss 1%"),
	WEATHER("delay", "delay 4ms"),
	/* One in a hundred is late, all others overtake it. */
	WEATHER("reorder", "delay 3ms reorder 99%"),
};

#define WEATHERS	(sizeof(weathers) / sizeof(weathers[0]))

/* The server's report, in its buffer 2. */
struct note {
	__u32 moves;
	__u32 error;
	__u64 late;
	__u64 recalls;
	__u64 errors;
};

/**
 * struct side - one end
 * @mock: the open mock
 * @data: buffer 1
 * @note: buffer 2
 * @fd: the connection
 * @ring: for its commands
 * @mover: moves buffer 1
 * @quit: it is to end
 * @moves: that it has made
 * @error: of one
 */
struct side {
	int mock;
	int data;
	struct ptn_buffer note;
	int fd;
	struct io_uring ring;
	pthread_t mover;
	atomic_bool quit;
	atomic_uint moves;
	atomic_int error;
};

static const struct p2pbuf_rdma_limits patient = {
	.recall_ms = P2PBUF_RDMA_MAX_RECALL_MS, .wait_ms = SECONDS * 1000,
};

/* The connection, for what is to be said when something fails. */
static int connection = -1;

static void fail(const char *what, int error)
{
	struct p2pbuf_rdma_info info = {};

	if (connection >= 0 && !ptd_info(connection, &info))
		printf("pair: state %u error %u revocations %llu recalls %llu/%llu parked %u\n",
		       info.state, info.error,
		       (unsigned long long)info.revocations,
		       (unsigned long long)info.recalls_sent,
		       (unsigned long long)info.recalls_received, info.parked);
	printf("pair: FAIL %s: %s\n", what, strerror(error));
	exit(1);
}

static int must(const char *what, int ret)
{
	if (ret < 0)
		fail(what, -ret);
	return ret;
}

static void must_be(const char *what, bool is)
{
	if (!is)
		fail(what, 0);
}

static const char *netdev(void)
{
	const char *name = getenv("P2PBUF_PAIR_NETDEV");

	return name ? name : "eth0";
}

/* By its path: the guest's own tc is none. */
#define TC	"/ci/toolbox /usr/sbin/tc"
#define ROOM	" limit 100000"		/* packets */

/*
 * Before anything is connected. netem stays, and is told another weather: while
 * a queueing discipline is replaced, and when it has no room, packets are
 * refused, and to rxe that is the end of a connection
 * (Documentation/kernel-bugs.rst).
 */
static void weather_begin(void)
{
	must_be("tc", !ptk_run(TC " qdisc replace dev %s root netem" ROOM,
			       netdev()));
}

static void weather_end(void)
{
	ptk_run(TC " qdisc del dev %s root 2>/dev/null", netdev());
}

/* "": nothing in between. */
static void set_weather(const char *netem)
{
	must_be("tc", !ptk_run(TC " qdisc change dev %s root netem %s" ROOM,
			       netdev(), netem));
}

static struct p2pbuf_rdma_addr address(const char *ip, __u16 port)
{
	struct p2pbuf_rdma_addr addr = { .family = AF_INET, .port = port };

	inet_pton(AF_INET, ip, addr.ip);
	return addr;
}

static int call(const char *ip, __u16 port, struct p2pbuf_rdma_limits limits)
{
	struct p2pbuf_rdma_connect arg = {
		.size = sizeof(arg),
		.addr = address(ip, port),
		.timeout_ms = PTD_MS,
		.limits = limits,
	};
	int fd, ret, tries = 0;

	/* The other machine may still be booting. */
	do {
		fd = must(PTD_NODE, ptd_open());
		ret = ptd_ioctl(fd, P2PBUF_RDMA_CONNECT, &arg);
		if (!ret)
			return fd;
		close(fd);
		sleep(1);
	} while (++tries < SECONDS);
	return must("connect", ret);
}

static int accept_one(int listener, struct p2pbuf_rdma_limits limits)
{
	struct p2pbuf_rdma_accept arg = {
		.size = sizeof(arg),
		.listen_fd = listener,
		.timeout_ms = SECONDS * 1000,
		.limits = limits,
	};
	int fd = must(PTD_NODE, ptd_open());

	must("accept", ptd_ioctl(fd, P2PBUF_RDMA_ACCEPT, &arg));
	return fd;
}

/* ---- both sides ------------------------------------------------------------- */

static void side_open(struct side *s, int fd)
{
	memset(s, 0, sizeof(*s));
	s->fd = fd;
	connection = fd;
	s->mock = must("mock", ptm_open());
	s->data = must("buffer", ptm_create(s->mock, BUFFER, P2PBUF_MOCK_PAGES,
					    P2PBUF_MOCK_SHUFFLE));
	must("buffer", ptn_buffer_alloc(&s->note, PTN_UDMABUF, NOTE));
	must("ring", ptd_ring(&s->ring, 64));
	must("import", ptd_import(fd, s->data, 1));
	must("import", ptd_import(fd, s->note.dmabuf, 2));
}

static void side_close(struct side *s)
{
	io_uring_queue_exit(&s->ring);
	close(s->fd);
	ptn_buffer_free(&s->note);
	close(s->data);
	close(s->mock);
}

static void *mover(void *arg)
{
	struct side *s = arg;
	int ret;

	while (!atomic_load(&s->quit)) {
		ret = ptm_move(s->mock, s->data, P2PBUF_MOCK_PAGES, 0);
		if (ret) {
			atomic_store(&s->error, -ret);
			break;
		}
		atomic_fetch_add(&s->moves, 1);
		usleep(MOVE_US);
	}
	return NULL;
}

static void mover_start(struct side *s)
{
	atomic_store(&s->quit, false);
	must("mover", -pthread_create(&s->mover, NULL, mover, s));
}

static void mover_stop(struct side *s)
{
	atomic_store(&s->quit, true);
	pthread_join(s->mover, NULL);
}

static void side_report(struct side *s, struct note *note)
{
	struct p2pbuf_mock_buffer_info info = ptm_info(s->mock, s->data);
	struct p2pbuf_rdma_info rdma;

	must("info", ptd_info(s->fd, &rdma));
	*note = (struct note){
		.moves = atomic_load(&s->moves),
		.error = atomic_load(&s->error),
		.late = info.late_words + info.moved_active + info.stale,
		.recalls = rdma.recalls_sent,
		.errors = rdma.errors + rdma.revocations,
	};
}

/* Tell the peer, with the note. */
static int side_try_tell(struct side *s, __u32 what)
{
	const struct p2pbuf_rdma_cmd cmd = {
		.local_id = 2, .remote_id = 2, .length = sizeof(struct note),
		.imm = what,
	};

	return ptd_io(&s->ring, s->fd, P2PBUF_RDMA_URING_WRITE_IMM, &cmd);
}

static void side_tell(struct side *s, __u32 what)
{
	must("tell", side_try_tell(s, what));
}

static int side_listen(struct side *s)
{
	const struct p2pbuf_rdma_cmd none = {};

	return ptd_io(&s->ring, s->fd, P2PBUF_RDMA_URING_RECV, &none);
}

/* ---- the server ------------------------------------------------------------- */

static int serve(const char *ip, __u16 port)
{
	struct p2pbuf_rdma_listen arg = {
		.size = sizeof(arg), .addr = address(ip, port),
	};
	int listener = must(PTD_NODE, ptd_open()), hostage;
	const struct weather *w = weathers;
	struct side s;

	weather_begin();
	must("listen", ptd_ioctl(listener, P2PBUF_RDMA_LISTEN, &arg));
	side_open(&s, accept_one(listener, patient));
	must("grant", ptd_grant(s.fd, 1, PTD_BOTH));
	must("grant", ptd_grant(s.fd, 2, P2PBUF_RDMA_RIGHT_WRITE));
	for (; w < weathers + WEATHERS; w++) {
		must_be("in step", side_listen(&s) == BEGIN);
		set_weather(w->netem);
		mover_start(&s);
		must_be("in step", side_listen(&s) == END);
		mover_stop(&s);
		set_weather("");
		side_report(&s, s.note.map);
		side_tell(&s, END);
	}
	/* It does nothing but to have the caller's lease. */
	hostage = accept_one(listener, patient);
	must_be("in step", side_listen(&s) == QUIT);
	side_report(&s, s.note.map);
	side_tell(&s, QUIT);
	/*
	 * Whoever leaves as soon as he has heard the last word may be faster
	 * than his NIC, which has yet to say that it came. So there is one
	 * more, that QUIT has ended; what becomes of it is nobody's business.
	 */
	side_try_tell(&s, BYE);
	/* The caller leaves first. */
	side_listen(&s);
	close(hostage);
	side_close(&s);
	close(listener);
	weather_end();
	printf("pair: served\n");
	return 0;
}

/* ---- the caller ------------------------------------------------------------- */

static __u8 bytes[SLOTS * SLOT];

static void slots_submit(struct side *s, bool back)
{
	struct p2pbuf_rdma_cmd cmd = {
		.local_id = 1, .remote_id = 1, .length = SLOT,
	};
	int slot;

	for (slot = 0; slot < SLOTS; slot++) {
		/* Across the end of a segment, and not on pages. */
		cmd.remote_offset = 2 * PTD_MIB - SLOTS * SLOT / 2 +
				    slot * SLOT + 77;
		cmd.local_offset = slot * SLOT + (back ? LANDING : 0);
		ptd_prep(&s->ring, s->fd, back ? P2PBUF_RDMA_URING_READ :
			 P2PBUF_RDMA_URING_WRITE, &cmd, slot);
	}
	must("submit", io_uring_submit(&s->ring));
}

/* A request takes as long as the network is down. */
static void slots_wait(struct side *s)
{
	struct p2pbuf_rdma_info info = {};
	int slot, ret;

	for (slot = 0; slot < SLOTS; slot++) {
		ret = ptd_wait(&s->ring, NULL);
		if (ret < 0 && !ptd_info(s->fd, &info))
			printf("pair: the connection ended with %s\n",
			       strerror(info.error));
		must("a request", ret);
		must_be("a whole request", ret == (int)SLOT);
	}
}

static void slots_fill(struct side *s, __u64 seed)
{
	ptd_fill(bytes, sizeof(bytes), seed);
	must("fill", ptm_data(s->mock, s->data, true, 0, bytes,
			      sizeof(bytes)));
	memset(bytes, PTD_POISON, sizeof(bytes));
	must("poison", ptm_data(s->mock, s->data, true, LANDING, bytes,
				sizeof(bytes)));
}

static void slots_check(struct side *s, __u64 seed)
{
	must("look", ptm_data(s->mock, s->data, false, LANDING, bytes,
			      sizeof(bytes)));
	must_be("every byte", ptd_check(bytes, sizeof(bytes), seed) ==
		sizeof(bytes));
}

static void round_trip(struct side *s, __u64 seed)
{
	slots_fill(s, seed);
	slots_submit(s, false);
	slots_wait(s);
	slots_submit(s, true);
	slots_wait(s);
	slots_check(s, seed);
}

static __u64 ms_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ull + ts.tv_nsec / 1000000;
}

static void check_weather(struct side *s, const struct weather *w)
{
	static __u64 seed;
	const struct note *there = s->note.map;
	unsigned int round, before = atomic_load(&s->moves);
	__u64 start = ms_now();
	struct note here;

	side_tell(s, BEGIN);
	set_weather(w->netem);
	mover_start(s);
	for (round = 0; round < ROUNDS; round++)
		round_trip(s, ++seed);
	mover_stop(s);
	set_weather("");
	side_tell(s, END);
	must_be("in step", side_listen(s) == END);
	side_report(s, &here);
	must_be("no error", !here.error && !here.errors && !there->error &&
		!there->errors);
	must_be("nobody wrote late", !here.late && !there->late);
	printf("pair: %s: bytes=%llu moves=%u+%u recalls=%llu lost=0 ms=%llu\n",
	       w->name, 2ull * ROUNDS * sizeof(bytes), here.moves - before,
	       there->moves, (unsigned long long)there->recalls,
	       (unsigned long long)(ms_now() - start));
	fflush(stdout);
}

/*
 * The cable is pulled. If the device were set down instead, rxe would find no
 * route to the peer, and end all connections that have something to send.
 */
#define WIRE	"wire"		/* QEMU's name of it, see ci/pair.sh */

/* Another connection, whose lease is asked back when nothing gets through. */
struct hostage {
	int mock;
	int data;
	int fd;
	__u64 ms;
	int ret;
};

static void *hostage_move(void *arg)
{
	struct hostage *h = arg;
	__u64 start = ms_now();

	h->ret = ptm_move(h->mock, h->data, P2PBUF_MOCK_PAGES, 0);
	h->ms = ms_now() - start;
	return NULL;
}

/*
 * Without a carrier all that is sent is refused, until the neighbour has been
 * forgotten, too: from then on it waits for an answer to ARP.
 */
static void neighbour_gone(const char *ip)
{
	unsigned int tries = 0;

	while (!ptk_run("grep -q '^%s  *0x1  *0x2 ' /proc/net/arp", ip)) {
		must_be("the link is down", tries++ < 10 * SECONDS);
		usleep(100000);
	}
}

static void check_link_down(struct side *s, const char *ip, __u16 port)
{
	const struct p2pbuf_rdma_limits limits = { .recall_ms = RECALL_MS };
	struct hostage h = { .mock = s->mock };
	int monitor = must("monitor", ptg_monitor_open());
	struct p2pbuf_rdma_info info;
	pthread_t thread;

	h.fd = call(ip, port, limits);
	h.data = must("buffer", ptm_create(h.mock, NOTE, P2PBUF_MOCK_PAGES, 0));
	must("import", ptd_import(h.fd, h.data, 1));
	must("grant", ptd_grant(h.fd, 1, PTD_BOTH));
	do {
		usleep(1000);
		must("info", ptd_info(h.fd, &info));
	} while (!info.grants_sent);
	/* From here on nothing leaves, so the recall lasts until the link is down. */
	set_weather("delay 1000s");
	slots_fill(s, 99);
	must("mover", -pthread_create(&thread, NULL, hostage_move, &h));
	do {
		usleep(1000);
		must("info", ptd_info(h.fd, &info));
	} while (!info.recalls_sent && info.state == P2PBUF_RDMA_UP);
	must("link down", ptg_command(monitor, "set_link", WIRE " off"));
	neighbour_gone(ip);
	slots_submit(s, false);
	pthread_join(thread, NULL);
	must("the move", h.ret);
	must("info", ptd_info(h.fd, &info));
	connection = h.fd;
	must_be("that connection is lost", info.state == P2PBUF_RDMA_DEAD &&
		info.error == ETIMEDOUT && info.revocations == 1);
	connection = s->fd;
	must("info", ptd_info(s->fd, &info));
	must_be("the other is not", info.state == P2PBUF_RDMA_UP);
	set_weather("");
	must("link up", ptg_command(monitor, "set_link", WIRE " on"));
	slots_wait(s);
	slots_submit(s, true);
	slots_wait(s);
	slots_check(s, 99);
	printf("pair: link-down: recall_ms=%u move_ms=%llu, the other connection lost=0\n",
	       RECALL_MS, (unsigned long long)h.ms);
	close(h.fd);
	close(h.data);
	close(monitor);
}

static int call_all(const char *ip, __u16 port)
{
	const struct weather *w;
	struct side s;

	weather_begin();
	side_open(&s, call(ip, port, patient));
	must("grant", ptd_grant(s.fd, 2, P2PBUF_RDMA_RIGHT_WRITE));
	for (w = weathers; w < weathers + WEATHERS; w++)
		check_weather(&s, w);
	check_link_down(&s, ip, port);
	round_trip(&s, 100);
	side_tell(&s, QUIT);
	must_be("in step", side_listen(&s) == QUIT);
	must_be("in step", side_listen(&s) == BYE);
	side_close(&s);
	weather_end();
	printf("pair: PASS\n");
	return 0;
}

int main(int argc, char **argv)
{
	__u16 port = argc > 3 ? atoi(argv[3]) : PORT;

	if (argc > 2 && !strcmp(argv[1], "serve"))
		return serve(argv[2], port);
	if (argc > 2 && !strcmp(argv[1], "call"))
		return call_all(argv[2], port);
	fprintf(stderr, "usage: p2pbuf-pair serve|call ADDRESS [PORT]\n");
	return 2;
}
