// SPDX-License-Identifier: GPL-2.0
/*
 * The NIC goes away while RDMA moves data over it: its driver is unbound, or it
 * is pulled out through sysfs, by the power of its slot, by a hand outside, and
 * with no word to anybody. The NIC is a virtio-net function with stock rxe on
 * it, and both ends of the connection are on this machine. What said that it was
 * done is done, nothing hangs, buffers are let go of, and the next NIC in that
 * place works.
 */
#include <glob.h>
#include <liburing.h>
#include <stdatomic.h>

#include "p2pbuf_test_nvme.h"
#include "p2pbuf_test_plug.h"
#include "p2pbuf_test_rdma.h"

#define BLOCK	(64 * PTN_KIB)
#define BLOCKS	64
#define SIZE	(BLOCKS * BLOCK)
#define DEPTH	16
#define WAIT_MS	20000
#define DRIVER	"/sys/bus/pci/drivers/virtio-pci/"

FIXTURE(nic) {
	struct ptg_plug plug;
	struct ptd_pair pair;
	struct ptn_buffer from;
	struct ptn_buffer to;
	char netdev[32];
	bool open;
};

FIXTURE_VARIANT(nic) { bool unbind; enum ptg_way way; };
FIXTURE_VARIANT_ADD(nic, unbind) { .unbind = true, .way = PTG_SYSFS, };
FIXTURE_VARIANT_ADD(nic, sysfs) { .way = PTG_SYSFS, };
FIXTURE_VARIANT_ADD(nic, slot) { .way = PTG_SLOT, };
FIXTURE_VARIANT_ADD(nic, hand) { .way = PTG_MONITOR_DEL, };
FIXTURE_VARIANT_ADD(nic, vanishes) { .way = PTG_VANISH, };

#define NIC FIXTURE_DATA(nic)

/* The first network device of a virtio function; false when there is none. */
static bool find_nic(char *pci, size_t size, char *netdev, size_t length)
{
	glob_t found;
	bool good;

	good = !glob(PCI_DEVICES "/*/virtio*/net/*", 0, NULL, &found) &&
	       sscanf(found.gl_pathv[0], PCI_DEVICES "/%15[^/]/%*[^/]/net/%31s",
		      pci, netdev) == 2 &&
	       size >= PCI_NAME_MAX && length >= 32;
	globfree(&found);
	return good;
}

static int nic_up(const char *netdev)
{
	if (ptk_run("modprobe rdma_rxe") ||
	    ptk_run("ip addr add %s/24 dev %s", PTD_ADDRESS, netdev) ||
	    ptk_run("ip link set %s up", netdev))
		return -ENODEV;
	return ptd_link_wait(PTD_RXE, "rxe", netdev);
}

/* Both buffers at both ends, and the second one granted. */
static int pair_up(NIC *self)
{
	int ret;

	self->pair = (struct ptd_pair){
		.limits = { .recall_ms = 20000, .wait_ms = 60000 },
	};
	ret = ptd_pair_open(&self->pair);
	if (ret)
		return ret;
	self->open = true;
	if (ptd_import(self->pair.a.fd, self->from.dmabuf, 1) != 1 ||
	    ptd_import(self->pair.b.fd, self->to.dmabuf, 1) != 1)
		return -EIO;
	return ptd_grant(self->pair.b.fd, 1, PTD_BOTH);
}

static void pair_down(NIC *self)
{
	if (self->open)
		ptd_pair_close(&self->pair);
	self->open = false;
}

/* ---- gone and back ----------------------------------------------------------- */

static int nic_pull(NIC *self, bool unbind)
{
	return unbind ? ptk_write(DRIVER "unbind", self->plug.pci) :
			ptg_pull(&self->plug);
}

/* Its network device may have another name. */
static int nic_push(NIC *self, bool unbind)
{
	char pci[PCI_NAME_MAX];
	int ms, ret;

	ret = unbind ? ptk_write(DRIVER "bind", self->plug.pci) :
		       ptg_push(&self->plug);
	if (ret)
		return ret;
	for (ms = 0; ms < WAIT_MS * ptk_slow(); ms += 20) {
		if (find_nic(pci, sizeof(pci), self->netdev,
			     sizeof(self->netdev)))
			return 0;
		usleep(20000);
	}
	return -ETIMEDOUT;
}

FIXTURE_SETUP(nic)
{
	char pci[PCI_NAME_MAX];
	const char *why;
	int ret = ptd_open();

	memset(self, 0, sizeof(*self));
	self->plug.monitor = -1;
	if (ret == -ENOENT)
		SKIP(return, "no " PTD_NODE);
	ASSERT_LE(0, ret);
	close(ret);
	ptk_run("modprobe -a virtio_pci virtio_net 2>/dev/null");
	if (!find_nic(pci, sizeof(pci), self->netdev, sizeof(self->netdev)))
		SKIP(return, "no virtio-net");
	why = ptg_open(&self->plug, "nic", pci, variant->way);
	if (why)
		SKIP(return, "%s", why);
	ret = ptn_buffer_alloc(&self->from, PTN_UDMABUF, SIZE);
	if (ret == -ENOENT)
		SKIP(return, "no udmabuf");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, ptn_buffer_alloc(&self->to, PTN_UDMABUF, SIZE));
	ASSERT_EQ(0, nic_up(self->netdev));
	ASSERT_EQ(0, pair_up(self));
}

FIXTURE_TEARDOWN(nic)
{
	pair_down(self);
	if (self->from.map) {
		/* Without its driver there is no RDMA device on it. */
		EXPECT_EQ(0, nic_pull(self, true));
		EXPECT_EQ(0, nic_push(self, true));
		ptn_buffer_free(&self->from);
		ptn_buffer_free(&self->to);
	}
	ptg_close(&self->plug);
}

/* ---- the load ---------------------------------------------------------------- */

/**
 * struct load - writes of blocks, each to its own place, again and again
 * @pushed: of a block: the pattern of its last write
 * @arrived: ... and of the last that was done
 * @done: writes
 * @failed: slots that have ended
 */
struct load {
	__u64 pushed[BLOCKS];
	__u64 arrived[BLOCKS];
	atomic_uint done;
	unsigned int failed;
};

static void push_block(NIC *self, struct load *load, unsigned int block,
		       __u64 seed)
{
	const struct p2pbuf_rdma_cmd cmd = {
		.local_id = 1, .remote_id = 1, .length = BLOCK,
		.local_offset = block * BLOCK, .remote_offset = block * BLOCK,
	};

	load->pushed[block] = seed;
	ptd_fill(self->from.map + block * BLOCK, BLOCK, seed);
	ptd_prep(&self->pair.a.ring, self->pair.a.fd, P2PBUF_RDMA_URING_WRITE,
		 &cmd, seed << 8 | block);
	io_uring_submit(&self->pair.a.ring);
}

static bool block_is(NIC *self, unsigned int block, __u64 seed)
{
	return ptd_check(self->to.map + block * BLOCK, BLOCK, seed) == BLOCK;
}

/*
 * Until every slot has failed, or @limit writes are done: what is done has
 * arrived. A slot's blocks are its own. Returns what the first to fail said.
 */
static int load_run(struct __test_metadata *_metadata, NIC *self,
		    struct load *load, unsigned int limit)
{
	unsigned int i, block, under_way = 0;
	int ret, error = 0;
	__u64 data = 0, seed;

	memset(load, 0, sizeof(*load));
	for (i = 0; i < DEPTH; i++, under_way++)
		push_block(self, load, i, 1);
	while (under_way) {
		ret = ptd_wait(&self->pair.a.ring, &data);
		under_way--;
		block = data & 0xff;
		seed = data >> 8;
		if (ret != (int)BLOCK) {
			error = error ?: ret;
			load->failed++;
			continue;
		}
		EXPECT_TRUE(block_is(self, block, seed));
		load->arrived[block] = seed;
		load->done++;
		if (load->done + under_way >= limit)
			continue;
		push_block(self, load, (block + DEPTH) % BLOCKS, seed + 1);
		under_way++;
	}
	/* Nor has anything else been there since. */
	for (block = 0; block < BLOCKS; block++)
		if (load->arrived[block] &&
		    load->arrived[block] == load->pushed[block])
			EXPECT_TRUE(block_is(self, block, load->arrived[block]));
	return error;
}

/* Pulls once the load has done something, or will not. */
struct puller {
	NIC *nic;
	const struct load *load;
	bool unbind;
	pthread_t thread;
	int ret;
};

static void *pull_run(void *arg)
{
	struct puller *p = arg;
	int ms;

	for (ms = 0; p->load->done < DEPTH && ms < WAIT_MS * ptk_slow(); ms++)
		usleep(1000);
	p->ret = nic_pull(p->nic, p->unbind);
	return NULL;
}

TEST_F_TIMEOUT(nic, goes_and_comes, 120)
{
	struct load load = {};
	struct puller puller = {
		.nic = self, .load = &load, .unbind = variant->unbind,
	};
	struct p2pbuf_rdma_info info;
	int ret, outcome;

	memset(self->to.map, PTD_POISON, SIZE);
	ASSERT_EQ(0, pthread_create(&puller.thread, NULL, pull_run, &puller));
	ret = load_run(_metadata, self, &load, ~0u);
	ASSERT_EQ(0, pthread_join(puller.thread, NULL));
	ASSERT_EQ(0, puller.ret);
	/* The first to fail may have come when it was over. */
	EXPECT_TRUE(ret == -ENODEV || ret == -ECONNRESET || ret == -ENOTCONN)
		TH_LOG("%d", ret);
	EXPECT_EQ(DEPTH, load.failed);
	EXPECT_LT(0, atomic_load(&load.done));

	/* Both ends are dead, and let go of what they hold. */
	outcome = ptd_outcome(self->pair.a.fd);
	EXPECT_TRUE(outcome == ENODEV || outcome == ECONNRESET)
		TH_LOG("%d", outcome);
	EXPECT_NE(0, ptd_outcome(self->pair.b.fd));
	EXPECT_EQ(ENODEV, ptd_outcome(self->pair.listener));
	EXPECT_EQ(0, ptd_info(self->pair.a.fd, &info));
	EXPECT_EQ(P2PBUF_RDMA_DEAD, info.state);
	EXPECT_EQ(0, ptd_release(self->pair.a.fd, 1));
	EXPECT_EQ(0, ptd_release(self->pair.b.fd, 1));
	pair_down(self);

	/* Another one comes in the same place. */
	ASSERT_EQ(0, nic_push(self, variant->unbind));
	ASSERT_EQ(0, nic_up(self->netdev));
	ASSERT_EQ(0, pair_up(self));
	memset(self->to.map, PTD_POISON, SIZE);
	EXPECT_EQ(0, load_run(_metadata, self, &load, 2 * BLOCKS));
	EXPECT_EQ(2 * BLOCKS, atomic_load(&load.done));
	EXPECT_EQ(0, load.failed);
}

TEST_HARNESS_MAIN
