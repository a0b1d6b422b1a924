// SPDX-License-Identifier: GPL-2.0
/*
 * RDMA from VRAM to VRAM, where the RDMA device does DMA.
 *
 * The device is the test NIC: it needs no pages, so the objects are those of a
 * plain region, and whether it reaches them is a question of the PCI tree.
 */
#define PTD_ADDRESS	PTV_ADDRESS

#include <liburing.h>

#include "p2pbuf_test_address.h"
#include "p2pbuf_test_mock.h"
#include "p2pbuf_test_nic.h"
#include "p2pbuf_test_rdma_vram.h"

/* Why nothing can be tested here, or NULL. */
static const char *nothing_to_test(void)
{
	if (access(PTD_NODE, F_OK))
		return "no " PTD_NODE;
	if (access("/sys/class/infiniband/" PTV_DEVICE, F_OK))
		return "no test NIC";
	return NULL;
}

FIXTURE(nic) {
	struct ptd_ends ends;
};

FIXTURE_SETUP(nic)
{
	const char *why = nothing_to_test();
	struct ptd_ends *e = &self->ends;

	memset(self, 0, sizeof(*self));
	e->exporter = -1;
	if (why)
		SKIP(return, "%s", why);
	e->exporter = ptx_open(0);
	if (e->exporter == -ENODEV)
		SKIP(return, "no exporter");
	ASSERT_LE(0, e->exporter);
	ASSERT_EQ(0, ptd_object_make(e->exporter, &e->here));
	ASSERT_EQ(0, ptd_object_make(e->exporter, &e->there));
	e->pair.limits.recall_ms = 20000;
	e->pair.limits.wait_ms = 60000;
	ASSERT_EQ(0, ptd_pair_open(&e->pair));
}

FIXTURE_TEARDOWN(nic)
{
	if (self->ends.exporter < 0)
		return;
	ptd_pair_close(&self->ends.pair);
	ptd_object_end(&self->ends.here);
	ptd_object_end(&self->ends.there);
	close(self->ends.exporter);
}

static int import_both(struct ptd_ends *e, struct p2pbuf_path_info *path)
{
	struct p2pbuf_rdma_import arg;
	int ret;

	ret = ptd_object_import(e->pair.a.fd, &e->here, &arg);
	*path = arg.path;
	if (!ret)
		ret = ptd_object_import(e->pair.b.fd, &e->there, &arg);
	return ret ? ret : ptd_grant(e->pair.b.fd, 1, PTD_BOTH);
}

static const char no_way[] = "the NIC does not reach the BAR here";

TEST_F_TIMEOUT(nic, stays_there, 120)
{
	struct ptd_ends *e = &self->ends;
	struct p2pbuf_path_info path;
	struct p2pbuf_rdma_info info;

	if (ptm_expect("refused"))
		SKIP(return, "%s", no_way);
	ASSERT_EQ(0, import_both(e, &path));
	EXPECT_EQ(ptm_expect("bus") ? P2PBUF_PATH_BUS : P2PBUF_PATH_BRIDGE,
		  path.path);
	ASSERT_EQ(0, ptd_info(e->pair.a.fd, &info));
	EXPECT_EQ(0, info.flags & P2PBUF_RDMA_F_CPU);
	ASSERT_TRUE(ptd_there_and_back(e, 1));
	EXPECT_EQ(P2PBUF_PLACEMENT_VRAM,
		  ptd_object_place(e->exporter, &e->here));
	EXPECT_EQ(P2PBUF_PLACEMENT_VRAM,
		  ptd_object_place(e->exporter, &e->there));
}

/* Two buffers that differ in their places alone have the same replies. */
static void compare_ends(struct __test_metadata *_metadata, struct ptd_ends *e,
			 __u64 start, __u64 end)
{
	struct p2pbuf_rdma_buffer_info a, b;
	struct p2pbuf_rdma_import here, there;

	ASSERT_EQ(0, ptd_object_import(e->pair.a.fd, &e->here, &here));
	ASSERT_EQ(0, ptd_object_import(e->pair.b.fd, &e->there, &there));
	ASSERT_EQ(0, ptd_buffer_info(e->pair.a.fd, 1, &a));
	ASSERT_EQ(0, ptd_buffer_info(e->pair.b.fd, 1, &b));
	pta_hide_no_device(&here.path);
	pta_hide_no_device(&there.path);
	pta_hide_no_device(&a.path);
	pta_hide_no_device(&b.path);
	/* The caller's own. */
	there.dmabuf_fd = here.dmabuf_fd;
	EXPECT_EQ(0, pta_addresses(&here, sizeof(here), start, end));
	EXPECT_EQ(0, pta_addresses(&a, sizeof(a), start, end));
	EXPECT_EQ(sizeof(here), pta_differs(&here, &there, sizeof(here)));
	EXPECT_EQ(sizeof(a), pta_differs(&a, &b, sizeof(a)));
}

/* Registered by the BAR's addresses, of which nobody is told. */
TEST_F_TIMEOUT(nic, no_address_in_replies, 120)
{
	struct p2pbuf_rdma_buffer_info buffer;
	struct p2pbuf_rdma_remote_info remote;
	struct ptd_ends *e = &self->ends;
	struct p2pbuf_rdma_listen listen = {
		.size = sizeof(listen), .addr = ptd_address(0),
	}, asked = listen;
	struct drm_p2pbuf_device_info device;
	struct p2pbuf_rdma_info info;
	__u64 start, end;
	int listener;

	if (ptm_expect("refused"))
		SKIP(return, "%s", no_way);
	ASSERT_EQ(0, ptx_device_info(e->exporter, &device));
	if (pta_bar_range(&device, &start, &end))
		SKIP(return, "nobody tells where the BAR is");
	compare_ends(_metadata, e, start, end);
	ASSERT_EQ(0, ptd_grant(e->pair.b.fd, 1, PTD_BOTH));
	ASSERT_TRUE(ptd_there_and_back(e, 1));
	ASSERT_EQ(0, ptd_info(e->pair.a.fd, &info));
	ASSERT_EQ(0, ptd_buffer_info(e->pair.b.fd, 1, &buffer));
	ASSERT_EQ(0, ptd_remote_info(e->pair.a.fd, 1, PTD_MS, &remote));
	pta_hide_no_device(&buffer.path);
	EXPECT_EQ(0, pta_addresses(&info, sizeof(info), start, end));
	EXPECT_EQ(0, pta_addresses(&buffer, sizeof(buffer), start, end));
	EXPECT_EQ(0, pta_addresses(&remote, sizeof(remote), start, end));
	listener = ptd_open();
	ASSERT_LE(0, listener);
	ASSERT_EQ(0, ptd_ioctl(listener, P2PBUF_RDMA_LISTEN, &listen));
	/* The port is any number; all else is the caller's own. */
	asked.addr.port = listen.addr.port;
	EXPECT_EQ(sizeof(asked), pta_differs(&asked, &listen, sizeof(asked)));
	close(listener);
}

TEST_F_TIMEOUT(nic, moves, 240)
{
	struct p2pbuf_path_info path;

	if (ptm_expect("refused"))
		SKIP(return, "%s", no_way);
	ASSERT_EQ(0, import_both(&self->ends, &path));
	PTD_MOVED_UNDER_LOAD(&self->ends);
}

/*
 * An object goes to host memory, which was not allowed; a window of the BAR
 * cannot, and the exporter says so.
 */
TEST_F(nic, no_way_to_the_bar)
{
	struct ptd_ends *e = &self->ends;
	struct drm_p2pbuf_gem_create create;
	struct p2pbuf_rdma_import arg;
	struct ptd_object window = {};

	if (!ptm_expect("refused"))
		SKIP(return, "the NIC reaches the BAR here");
	EXPECT_EQ(-EREMOTEIO, ptd_object_import(e->pair.a.fd, &e->here, &arg));
	EXPECT_EQ(P2PBUF_REASON_NOT_PEER, arg.path.reason);
	ASSERT_EQ(0, ptx_create_window(e->exporter, PTD_OBJECT, 0, &create));
	window.dmabuf = ptx_export(e->exporter, create.handle, true);
	ASSERT_LT(0, window.dmabuf);
	EXPECT_EQ(-EREMOTEIO, ptd_object_import(e->pair.a.fd, &window, &arg));
	EXPECT_EQ(P2PBUF_PATH_REFUSED, arg.path.path);
	EXPECT_EQ(P2PBUF_REASON_EXPORTER, arg.path.reason);
	ptd_object_end(&window);
}

/* ---- exporters that map whatever they have ----------------------------------- */

FIXTURE(mock) {
	int mock;
	int dmabuf;
	struct ptm_lent lent;
	struct ptd_pair pair;
};

FIXTURE_SETUP(mock)
{
	const char *why = nothing_to_test();

	memset(self, 0, sizeof(*self));
	self->dmabuf = -1;
	if (why)
		SKIP(return, "%s", why);
	self->mock = ptm_open();
	if (self->mock == -ENOENT)
		SKIP(return, "no " P2PBUF_MOCK_DEVICE);
	ASSERT_LT(0, self->mock);
	ASSERT_EQ(0, ptd_pair_open(&self->pair));
}

FIXTURE_TEARDOWN(mock)
{
	if (self->mock <= 0)
		return;
	if (self->dmabuf >= 0)
		close(self->dmabuf);
	ptd_pair_close(&self->pair);
	ptm_give_back(&self->lent);
	close(self->mock);
}

#define MOCK_DATA FIXTURE_DATA(mock)

static int import_mock(MOCK_DATA *self, __u32 placement, __u32 shape,
		       struct p2pbuf_path_info *path)
{
	struct p2pbuf_rdma_import arg = {
		.size = sizeof(arg),
		.flags = P2PBUF_RDMA_IMPORT_ALLOW_SYSTEM,
		.id = 1,
	};
	int ret;

	self->dmabuf = ptm_create(self->mock, 64 * PTM_PAGE, placement, 0);
	if (self->dmabuf < 0)
		return self->dmabuf;
	ret = ptm_shape(self->mock, self->dmabuf, shape);
	if (ret)
		return ret;
	arg.dmabuf_fd = self->dmabuf;
	ret = ptd_ioctl(self->pair.a.fd, P2PBUF_RDMA_IMPORT, &arg);
	*path = arg.path;
	return ret;
}

TEST_F(mock, no_route)
{
	struct p2pbuf_path_info path = { };
	int ret;

	if (!ptm_expect("refused"))
		SKIP(return, "the NIC reaches the BAR here");
	ret = ptm_lend_bar(&self->lent);
	if (ret == -ENODEV)
		SKIP(return, "no function to lend");
	ASSERT_EQ(0, ret);
	EXPECT_EQ(-EHOSTUNREACH, import_mock(self, P2PBUF_MOCK_BAR,
					     P2PBUF_MOCK_RAW, &path));
	EXPECT_EQ(P2PBUF_PATH_REFUSED, path.path);
	EXPECT_EQ(P2PBUF_REASON_NO_ROUTE, path.reason);
}

TEST_F(mock, address_of_nothing)
{
	struct p2pbuf_path_info path = { };

	EXPECT_EQ(-ENODATA, import_mock(self, P2PBUF_MOCK_PAGES,
					P2PBUF_MOCK_WRAP, &path));
	EXPECT_EQ(P2PBUF_REASON_OPAQUE, path.reason);
}

int main(int argc, char **argv)
{
	return ptv_main(argc, argv);
}
