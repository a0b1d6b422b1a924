// SPDX-License-Identifier: GPL-2.0
/*
 * RDMA from VRAM to VRAM, where the RDMA device copies with the CPU.
 *
 * Two objects of a paged region are the ends of a connection. They stay in
 * VRAM: no import here allows host memory. Then both move to host memory and
 * back, again and again, while requests go on.
 */
#include <liburing.h>

#include "p2pbuf_test_paged.h"
#include "p2pbuf_test_rdma_vram.h"

FIXTURE(vram) {
	struct ptp_rig rig;
	struct ptd_ends ends;
};

FIXTURE_SETUP(vram)
{
	struct ptd_ends *e = &self->ends;
	struct p2pbuf_rdma_import arg;
	int ret;

	memset(self, 0, sizeof(*self));
	self->rig.fd = -1;
	if (access(PTD_NODE, F_OK))
		SKIP(return, "no " PTD_NODE);
	ret = ptp_open(&self->rig);
	if (ret == -ENODEV)
		SKIP(return, "no exporter");
	ASSERT_EQ(0, ret);
	e->exporter = self->rig.fd;
	ASSERT_EQ(0, ptd_object_make(e->exporter, &e->here));
	ASSERT_EQ(0, ptd_object_make(e->exporter, &e->there));
	e->pair.limits.recall_ms = 20000;
	e->pair.limits.wait_ms = 60000;
	ASSERT_EQ(0, ptd_pair_open(&e->pair));
	ASSERT_EQ(0, ptd_object_import(e->pair.a.fd, &e->here, &arg));
	EXPECT_EQ(P2PBUF_PATH_BRIDGE, arg.path.path);
	EXPECT_EQ(self->rig.info.pci, arg.path.exporter);
	ASSERT_EQ(0, ptd_object_import(e->pair.b.fd, &e->there, &arg));
	ASSERT_EQ(0, ptd_grant(e->pair.b.fd, 1, PTD_BOTH));
}

FIXTURE_TEARDOWN(vram)
{
	if (self->rig.fd < 0)
		return;
	ptd_pair_close(&self->ends.pair);
	ptd_object_end(&self->ends.here);
	ptd_object_end(&self->ends.there);
	ptp_close(&self->rig);
}

TEST_F_TIMEOUT(vram, stays_there, 120)
{
	struct ptd_ends *e = &self->ends;

	ASSERT_TRUE(ptd_there_and_back(e, 1));
	EXPECT_EQ(P2PBUF_PLACEMENT_VRAM,
		  ptd_object_place(e->exporter, &e->here));
	EXPECT_EQ(P2PBUF_PLACEMENT_VRAM,
		  ptd_object_place(e->exporter, &e->there));
}

TEST_F_TIMEOUT(vram, moves, 240)
{
	struct ptd_ends *e = &self->ends;

	PTD_MOVED_UNDER_LOAD(e);
}

/* The region is unbound: VRAM goes, what it held goes on in host memory. */
TEST_F_TIMEOUT(vram, unbound, 120)
{
	ASSERT_TRUE(ptd_there_and_back(&self->ends, 1));
	ASSERT_EQ(0, ptr_unbind(&self->rig.region));
	ASSERT_TRUE(ptd_there_and_back(&self->ends, 2));
	ASSERT_EQ(0, ptr_probe(&self->rig.region));
}

int main(int argc, char **argv)
{
	return ptd_main(argc, argv);
}
