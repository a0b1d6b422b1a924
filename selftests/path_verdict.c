// SPDX-License-Identifier: GPL-2.0
/*
 * The path verdict against real topologies: what each of them must say about
 * honest mappings, and that every kind of wrong address is refused for the
 * right reason, with the right device named.
 *
 * No DMA is done. kernel/mock/p2pbuf_probe.c maps, judges and unmaps.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <linux/kernel-page-flags.h>
#include <linux/pci_regs.h>

#include "kselftest_harness.h"
#include "p2pbuf_probe.h"
#include "p2pbuf_test_exporter.h"
#include "p2pbuf_test_foreign.h"
#include "p2pbuf_test_pci.h"

#define MIB			(1024UL * 1024)
#define ANY			0xfffffffeU
#define FULL_MIB "/sys/module/p2pbuf_core/parameters/path_full_mib"

/* An address that no machine of the tests answers at. */
#define NOBODY			(1ULL << 44)
#define MSI			0xfee00000ULL

struct verdict {
	int err;
	__u32 path;
	__u32 reason;
};

#define OK(p)		{ 0, P2PBUF_PATH_##p, P2PBUF_REASON_NONE }
#define NO(e, r)	{ -(e), P2PBUF_PATH_REFUSED, P2PBUF_REASON_##r }

/*
 * @raw: a BAR's bus address as it is; what the exporter gives in a switch
 * @mapped: the BAR through the DMA API; what it gives through a host bridge
 * @unmappable: the DMA API refuses to map a BAR
 */
static const struct topology {
	const char *name;
	struct verdict raw;
	struct verdict mapped;
	bool unmappable;
	bool iommu;
	bool bounce;
} topologies[] = {
	{ .name = "bus", .raw = OK(BUS), .mapped = OK(BUS) },
	{ .name = "epyc-bridge", .raw = OK(BRIDGE), .mapped = OK(BRIDGE) },
	{ .name = "epyc-iommu", .raw = NO(EFAULT, NOWHERE),
	  .mapped = OK(BRIDGE), .iommu = true },
	{ .name = "q35-refuse", .raw = NO(EHOSTUNREACH, NO_ROUTE),
	  .mapped = NO(EHOSTUNREACH, NO_ROUTE) },
	{ .name = "switch-iommu", .raw = NO(EFAULT, BUS_UNDER_IOMMU),
	  .mapped = NO(EHOSTUNREACH, NO_ROUTE), .iommu = true },
	{ .name = "swiotlb", .raw = OK(BUS), .unmappable = true,
	  .bounce = true },
};

static const struct verdict nowhere = NO(EFAULT, NOWHERE);
static const struct verdict unaligned = NO(EFAULT, UNALIGNED);
static const struct verdict dead = NO(EHOSTDOWN, DEAD_BAR);
static const struct verdict bounced = NO(EADDRNOTAVAIL, BOUNCE);
static const struct verdict opaque = NO(ENODATA, OPAQUE);
static const struct verdict host_memory = OK(SYSTEM);

FIXTURE(path)
{
	const struct topology *topo;
	int probe;
	char importer[PCI_NAME_MAX];
	char exporter[PCI_NAME_MAX];
	struct pci_bar bar;
};

FIXTURE_SETUP(path)
{
	const char *name = getenv("P2PBUF_TOPOLOGY");
	size_t i;

	self->probe = open(P2PBUF_PROBE_DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->probe) {
		TH_LOG("no %s: %s", P2PBUF_PROBE_DEVICE, strerror(errno));
	}

	self->topo = NULL;
	for (i = 0; name && i < sizeof(topologies) / sizeof(*topologies); i++)
		if (!strcmp(topologies[i].name, name))
			self->topo = &topologies[i];
	if (!self->topo)
		SKIP(return, "the topology \"%s\" has no known verdicts",
		     name ? name : "");
	if (pci_from_env("P2PBUF_NVME_MAIN_PCI", self->importer))
		SKIP(return, "no NVMe device \"main\"");
	if (pci_from_env("P2PBUF_EXPORTER_PCI", self->exporter) &&
	    pci_by_id(0x1af4, 0x1110, self->exporter))
		SKIP(return, "no device with a BAR full of memory");
	ASSERT_EQ(0, pci_bar_read(self->exporter, 2, &self->bar));
	ASSERT_LE(4 * MIB, self->bar.size);
}

FIXTURE_TEARDOWN(path)
{
	close(self->probe);
}

static struct p2pbuf_probe_segment segment(__u32 kind, __u64 addr, __u32 len)
{
	return (struct p2pbuf_probe_segment){
		.kind = kind,
		.addr = addr,
		.len = len,
		.hole = P2PBUF_PROBE_NO_HOLE,
	};
}

/* A dma-buf of up to two segments, @second may be NULL. An fd or -errno. */
static int make(int probe, struct p2pbuf_probe_segment first,
		const struct p2pbuf_probe_segment *second, __u64 size)
{
	struct p2pbuf_probe_make arg = {
		.size = size,
		.nr = second ? 2 : 1,
		.fd = -1,
		.segment = { first },
	};

	if (second)
		arg.segment[1] = *second;
	return ioctl(probe, P2PBUF_PROBE_MAKE, &arg) ? -errno : arg.fd;
}

/* Poisoned before, so that a field nobody wrote is seen. */
static int judge(int probe, int fd, const char *importer, bool no_p2p,
		 struct p2pbuf_probe_judge *out)
{
	memset(out, 0xa5, sizeof(*out));
	out->fd = fd;
	out->importer = pci_id(importer);
	out->no_p2p = no_p2p;
	return ioctl(probe, P2PBUF_PROBE_JUDGE, out) ? -errno : 0;
}

static void show(const struct p2pbuf_probe_judge *j)
{
	printf("# mapped %d, verdict %d, path %s, reason %u (%s)\n", j->mapped,
	       j->verdict, j->path, j->info.reason, j->reason);
	printf("#   exporter %#x bar %u, blocker %#x acs %#x, flags %#x\n",
	       j->info.exporter, j->info.exporter_bar, j->info.blocker,
	       j->info.blocker_acs, j->info.flags);
	printf("#   %u segments, %llu cycles\n", j->segments, j->cycles);
}

static bool zeroed(const void *p, size_t n)
{
	const char *c = p;

	while (n--)
		if (*c++)
			return false;
	return true;
}

/*
 * Judge @fd, close it, and compare. @owner is the id of the function that must
 * be named as exporter, %P2PBUF_PATH_NO_DEVICE for none, %ANY for whatever.
 */
#define EXPECT_VERDICT(_fd, _want, _owner, _out) do { \
	struct verdict _w = (_want); \
	int _f = (_fd); \
	ASSERT_LE(0, _f); \
	ASSERT_EQ(0, judge(self->probe, _f, self->importer, false, (_out))); \
	close(_f); \
	show(_out); \
	ASSERT_EQ(0, (_out)->mapped); \
	EXPECT_EQ(_w.err, (_out)->verdict); \
	EXPECT_EQ(_w.path, (_out)->info.path); \
	EXPECT_EQ(_w.reason, (_out)->info.reason); \
	EXPECT_EQ(pci_id(self->importer), (_out)->info.importer); \
	if ((_owner) != ANY) \
		EXPECT_EQ((_owner), (_out)->info.exporter); \
	EXPECT_EQ(self->topo->iommu, \
		  !!((_out)->info.flags & P2PBUF_PATH_F_IOMMU)); \
	EXPECT_EQ(0, (_out)->info.generation); \
	EXPECT_TRUE(zeroed((_out)->info.reserved, \
			   sizeof((_out)->info.reserved))); \
} while (0)

/* ---- what the exporter of this project gives ------------------------------- */

TEST_F(path, exporter_vram)
{
	struct verdict want = self->topo->raw;
	struct drm_p2pbuf_gem_create create;
	struct p2pbuf_probe_judge j;
	int node, fd;

	node = ptx_open(0);
	if (node < 0)
		SKIP(return, "the exporter's node is not there");
	ASSERT_EQ(0, ptx_create(node, 2 * MIB, P2PBUF_PLACEMENT_VRAM,
				P2PBUF_CREATE_VRAM_ONLY, &create));
	fd = ptx_export(node, create.handle, true);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, judge(self->probe, fd, self->importer, false, &j));
	show(&j);
	/* The exporter maps through the host bridge what no switch routes. */
	if (!strcmp(self->topo->name, "epyc-iommu"))
		want = self->topo->mapped;
	if (want.reason == P2PBUF_REASON_NO_ROUTE) {
		EXPECT_EQ(-EREMOTEIO, j.mapped);
	} else {
		EXPECT_EQ(0, j.mapped);
		EXPECT_EQ(want.err, j.verdict);
		EXPECT_EQ(want.path, j.info.path);
		EXPECT_EQ(want.reason, j.info.reason);
		EXPECT_EQ(pci_id(self->exporter), j.info.exporter);
		EXPECT_EQ(2, j.info.exporter_bar);
	}
	close(fd);
	close(node);
}

/* Without peer to peer the same object must come as host memory or not at all. */
TEST_F(path, exporter_moves_for_host_only_importer)
{
	struct drm_p2pbuf_gem_create create;
	struct p2pbuf_probe_judge j;
	int node, fd;

	node = ptx_open(0);
	if (node < 0)
		SKIP(return, "the exporter's node is not there");
	ASSERT_EQ(0, ptx_create(node, 64 << 10, P2PBUF_PLACEMENT_VRAM, 0,
				&create));
	fd = ptx_export(node, create.handle, true);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, judge(self->probe, fd, self->importer, true, &j));
	show(&j);
	EXPECT_EQ(0, j.mapped);
	EXPECT_EQ(P2PBUF_PATH_NO_DEVICE, j.info.exporter);
	if (self->topo->bounce) {
		EXPECT_EQ(-EADDRNOTAVAIL, j.verdict);
		EXPECT_EQ(P2PBUF_REASON_BOUNCE, j.info.reason);
	} else {
		EXPECT_EQ(0, j.verdict);
		EXPECT_EQ(P2PBUF_PATH_SYSTEM, j.info.path);
	}
	close(fd);
	close(node);
}

/* ---- BARs, honest and not -------------------------------------------------- */

TEST_F(path, raw_bar_address)
{
	const struct verdict *want = &self->topo->raw;
	struct p2pbuf_probe_judge j;

	EXPECT_VERDICT(make(self->probe,
			    segment(P2PBUF_PROBE_RAW, self->bar.start + MIB,
				    2 * MIB), NULL, 0),
		       *want, pci_id(self->exporter), &j);
	EXPECT_EQ(2, j.info.exporter_bar);
	EXPECT_EQ(0, j.info.blocker_acs);
	EXPECT_EQ(want->reason == P2PBUF_REASON_NO_ROUTE ?
		  pci_id("0000:00:00.0") : P2PBUF_PATH_NO_DEVICE,
		  j.info.blocker);
	EXPECT_STREQ(want->err ? "refused" :
		     want->path == P2PBUF_PATH_BUS ? "bus" : "bridge", j.path);
}

TEST_F(path, whole_bar)
{
	struct p2pbuf_probe_judge j;

	EXPECT_VERDICT(make(self->probe,
			    segment(P2PBUF_PROBE_RAW, self->bar.start,
				    self->bar.size), NULL, 0),
		       self->topo->raw, pci_id(self->exporter), &j);
}

TEST_F(path, mapped_bar_address)
{
	struct p2pbuf_probe_judge j;
	int fd;

	fd = make(self->probe, segment(P2PBUF_PROBE_MMIO, self->bar.start,
				       4 * MIB), NULL, 0);
	if (self->topo->unmappable) {
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, judge(self->probe, fd, self->importer, false, &j));
		close(fd);
		EXPECT_GT(0, j.mapped);
		SKIP(return, "the DMA API maps no BAR here");
	}
	EXPECT_VERDICT(fd, self->topo->mapped, pci_id(self->exporter), &j);
	EXPECT_EQ(2, j.info.exporter_bar);
	EXPECT_FALSE(j.info.flags & (P2PBUF_PATH_F_SAMPLED |
				     P2PBUF_PATH_F_UNPROVEN));
}

TEST_F(path, past_the_end_of_the_bar)
{
	__u64 start = self->bar.start + self->bar.size - MIB;
	struct p2pbuf_probe_judge j;

	/* The IOMMU looks page by page and stops at the first. */
	EXPECT_VERDICT(make(self->probe, segment(P2PBUF_PROBE_RAW, start,
						 2 * MIB), NULL, 0),
		       self->topo->iommu ? self->topo->raw : nowhere,
		       pci_id(self->exporter), &j);
}

/* What lies there may be somebody else's BAR, but it is not this one. */
TEST_F(path, behind_the_end_of_the_bar)
{
	struct p2pbuf_probe_judge j;
	int fd;

	fd = make(self->probe,
		  segment(P2PBUF_PROBE_RAW, self->bar.start + self->bar.size,
			  MIB), NULL, 0);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, judge(self->probe, fd, self->importer, false, &j));
	close(fd);
	EXPECT_NE(pci_id(self->exporter), j.info.exporter);
	if (j.info.exporter == P2PBUF_PATH_NO_DEVICE)
		EXPECT_EQ(-EFAULT, j.verdict);
}

TEST_F(path, mapped_past_the_end_of_the_bar)
{
	__u64 start = self->bar.start + self->bar.size - MIB;
	struct p2pbuf_probe_judge j;

	if (self->topo->unmappable)
		SKIP(return, "the DMA API maps no BAR here");
	EXPECT_VERDICT(make(self->probe, segment(P2PBUF_PROBE_MMIO, start,
						 2 * MIB), NULL, 0),
		       nowhere, pci_id(self->exporter), &j);
}

/* A verdict names the owner of the memory, whoever the exporter meant. */
TEST_F(path, foreign_bar)
{
	struct p2pbuf_probe_segment other;
	struct p2pbuf_probe_judge j;
	char edu[PCI_NAME_MAX];
	struct pci_bar bar;
	bool decodes;

	if (pci_from_env("P2PBUF_EDU_PCI", edu) &&
	    pci_by_id(0x1234, 0x11e8, edu))
		SKIP(return, "no second device with a BAR");
	ASSERT_EQ(0, pci_bar_read(edu, 0, &bar));
	other = segment(P2PBUF_PROBE_RAW, bar.start, bar.size);

	/* It has no driver that would enable it. */
	decodes = pci_decodes(edu);
	ASSERT_EQ(0, pci_set_decode(edu, true));
	EXPECT_VERDICT(make(self->probe, other, NULL, 0), self->topo->raw,
		       pci_id(edu), &j);
	EXPECT_EQ(0, j.info.exporter_bar);
	EXPECT_VERDICT(make(self->probe,
			    segment(P2PBUF_PROBE_RAW, self->bar.start, MIB),
			    &other, 0),
		       self->topo->raw.err ? self->topo->raw : nowhere,
		       pci_id(self->exporter), &j);
	ASSERT_EQ(0, pci_set_decode(edu, decodes));
}

TEST_F(path, hole)
{
	struct p2pbuf_probe_judge j;

	EXPECT_VERDICT(make(self->probe, segment(P2PBUF_PROBE_RAW, NOBODY,
						 MIB), NULL, 0),
		       nowhere, P2PBUF_PATH_NO_DEVICE, &j);
}

TEST_F(path, interrupt_address)
{
	struct p2pbuf_probe_judge j;

	EXPECT_VERDICT(make(self->probe, segment(P2PBUF_PROBE_RAW, MSI, 4096),
			    NULL, 0), nowhere, P2PBUF_PATH_NO_DEVICE, &j);
}

/* ECAM lies in reserved memory, but a driver claimed it. */
TEST_F(path, config_space_address)
{
	unsigned long long start = 0;
	struct p2pbuf_probe_judge j;
	char line[160];
	FILE *f;

	f = fopen("/proc/iomem", "r");
	ASSERT_NE(NULL, f);
	while (fgets(line, sizeof(line), f))
		if (strstr(line, "PCI ECAM") || strstr(line, "PCI MMCONFIG"))
			start = strtoull(line, NULL, 16);
	fclose(f);
	if (!start)
		SKIP(return, "no memory-mapped config space");
	EXPECT_VERDICT(make(self->probe, segment(P2PBUF_PROBE_RAW, start,
						 4096), NULL, 0),
		       nowhere, P2PBUF_PATH_NO_DEVICE, &j);
}

TEST_F(path, unaligned_segment)
{
	struct p2pbuf_probe_judge j;

	EXPECT_VERDICT(make(self->probe,
			    segment(P2PBUF_PROBE_RAW, self->bar.start + 512,
				    4096), NULL, 0), unaligned, ANY, &j);
	EXPECT_VERDICT(make(self->probe,
			    segment(P2PBUF_PROBE_RAW, self->bar.start, 4608),
			    NULL, 0), unaligned, ANY, &j);
}

/* What lies behind the last segment has no address. */
TEST_F(path, segments_shorter_than_the_buffer)
{
	struct p2pbuf_probe_judge j;

	EXPECT_VERDICT(make(self->probe,
			    segment(P2PBUF_PROBE_RAW, self->bar.start, MIB),
			    NULL, 2 * MIB), nowhere, P2PBUF_PATH_NO_DEVICE, &j);
}

TEST_F(path, wrapping_segment)
{
	struct p2pbuf_probe_judge j;

	EXPECT_VERDICT(make(self->probe,
			    segment(P2PBUF_PROBE_RAW, -4096ULL, 8192), NULL, 0),
		       opaque, P2PBUF_PATH_NO_DEVICE, &j);
}

TEST_F(path, beyond_the_dma_mask)
{
	struct p2pbuf_probe_judge j;
	char narrow[PCI_NAME_MAX];
	int fd;

	if (pci_from_env("P2PBUF_EDU_PCI", narrow) ||
	    pci_attr(narrow, "dma_mask_bits", 10) != 32)
		SKIP(return, "no device with a 32-bit DMA mask");
	fd = make(self->probe, segment(P2PBUF_PROBE_RAW, 1ULL << 32, 4096),
		  NULL, 0);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, judge(self->probe, fd, narrow, false, &j));
	close(fd);
	EXPECT_EQ(0, j.mapped);
	EXPECT_EQ(opaque.err, j.verdict);
	EXPECT_EQ(opaque.reason, j.info.reason);
}

/* ---- BARs that do not answer ----------------------------------------------- */

/* The one way to this BAR that the topology has, as a dma-buf. */
static int make_bar(int probe, const struct topology *topo,
		    const struct pci_bar *bar)
{
	bool mapped = topo->raw.err && !topo->mapped.err;

	return make(probe, segment(mapped ? P2PBUF_PROBE_MMIO :
					    P2PBUF_PROBE_RAW,
				   bar->start, MIB), NULL, 0);
}

TEST_F(path, memory_decode_off)
{
	struct p2pbuf_probe_judge j;
	int fd;

	ASSERT_EQ(0, pci_set_decode(self->exporter, false));
	EXPECT_VERDICT(make_bar(self->probe, self->topo, &self->bar), dead,
		       pci_id(self->exporter), &j);
	EXPECT_EQ(P2PBUF_PATH_NO_DEVICE, j.info.blocker);
	ASSERT_EQ(0, pci_set_decode(self->exporter, true));
	/* And the refusal does not outlive its cause. */
	fd = make_bar(self->probe, self->topo, &self->bar);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, judge(self->probe, fd, self->importer, false, &j));
	close(fd);
	EXPECT_NE(P2PBUF_REASON_DEAD_BAR, j.info.reason);
}

TEST_F(path, bridge_decode_off)
{
	char bridge[PCI_NAME_MAX];
	struct p2pbuf_probe_judge j;

	if (pci_upstream(self->exporter, bridge))
		SKIP(return, "the BAR's device sits on the root bus");
	ASSERT_EQ(0, pci_set_decode(bridge, false));
	EXPECT_VERDICT(make_bar(self->probe, self->topo, &self->bar), dead,
		       pci_id(self->exporter), &j);
	EXPECT_EQ(pci_id(bridge), j.info.blocker);
	ASSERT_EQ(0, pci_set_decode(bridge, true));
}

TEST_F(path, bar_register_lost)
{
	__u32 low, high, zero = 0;
	struct p2pbuf_probe_judge j;
	int where = PCI_BASE_ADDRESS_0 + 4 * 2;

	/* As a reset leaves it: the function decodes, but elsewhere. */
	ASSERT_EQ(0, pci_config_read(self->exporter, where, &low, 4));
	ASSERT_EQ(0, pci_config_read(self->exporter, where + 4, &high, 4));
	ASSERT_EQ(0, pci_set_decode(self->exporter, false));
	ASSERT_EQ(0, pci_config_write(self->exporter, where, &zero, 4));
	ASSERT_EQ(0, pci_config_write(self->exporter, where + 4, &zero, 4));
	ASSERT_EQ(0, pci_set_decode(self->exporter, true));
	EXPECT_VERDICT(make_bar(self->probe, self->topo, &self->bar), dead,
		       pci_id(self->exporter), &j);
	ASSERT_EQ(0, pci_set_decode(self->exporter, false));
	ASSERT_EQ(0, pci_config_write(self->exporter, where, &low, 4));
	ASSERT_EQ(0, pci_config_write(self->exporter, where + 4, &high, 4));
	ASSERT_EQ(0, pci_set_decode(self->exporter, true));
}

/* A virtual function has neither COMMAND.MEM nor BAR registers of its own. */
TEST_F(path, virtual_function)
{
	char pf[PCI_NAME_MAX], vf[PCI_NAME_MAX];
	struct p2pbuf_probe_judge j;
	struct pci_bar bar;
	__u16 ctrl, off;
	int pos;

	if (pci_by_attr("sriov_totalvfs", pf))
		SKIP(return, "no function with SR-IOV");
	ASSERT_EQ(0, pci_attr_write(pf, "sriov_numvfs", "1"));
	ASSERT_EQ(0, pci_link(pf, "virtfn0", vf));
	ASSERT_EQ(0, pci_bar_read(vf, 0, &bar));
	EXPECT_VERDICT(make(self->probe,
			    segment(P2PBUF_PROBE_RAW, bar.start, bar.size),
			    NULL, 0), self->topo->raw, pci_id(vf), &j);
	EXPECT_EQ(0, j.info.exporter_bar);

	pos = pci_ext_cap(pf, PCI_EXT_CAP_ID_SRIOV);
	ASSERT_LT(0, pos);
	ASSERT_EQ(0, pci_config_read(pf, pos + PCI_SRIOV_CTRL, &ctrl, 2));
	off = ctrl & ~PCI_SRIOV_CTRL_MSE;
	ASSERT_EQ(0, pci_config_write(pf, pos + PCI_SRIOV_CTRL, &off, 2));
	EXPECT_VERDICT(make(self->probe,
			    segment(P2PBUF_PROBE_RAW, bar.start, bar.size),
			    NULL, 0), dead, pci_id(vf), &j);
	ASSERT_EQ(0, pci_config_write(pf, pos + PCI_SRIOV_CTRL, &ctrl, 2));

	ASSERT_EQ(0, pci_attr_write(pf, "sriov_numvfs", "0"));
	/* With the virtual function the owner of its slice is gone. */
	EXPECT_VERDICT(make(self->probe,
			    segment(P2PBUF_PROBE_RAW, bar.start, bar.size),
			    NULL, 0), nowhere, P2PBUF_PATH_NO_DEVICE, &j);
}

/* A function whose own port below the importer's switch has ACS. */
struct acs_peer {
	char importer[PCI_NAME_MAX];
	char importer_switch[PCI_NAME_MAX];
};

static bool is_acs_peer(const char *name, const void *arg)
{
	const struct acs_peer *peer = arg;
	char port[PCI_NAME_MAX], up[PCI_NAME_MAX];
	struct pci_bar bar;

	return strcmp(name, peer->importer) && !pci_upstream(name, port) &&
	       !pci_upstream(port, up) && !strcmp(up, peer->importer_switch) &&
	       pci_ext_cap(port, PCI_EXT_CAP_ID_ACS) > 0 &&
	       (!pci_bar_read(name, 0, &bar) || !pci_bar_read(name, 2, &bar));
}

/* The kernel trusts every AMD processor since Zen to forward. */
static bool cpu_forwards(void)
{
	bool amd = false;
	char line[512];
	int family = 0;
	FILE *f;

	f = fopen("/proc/cpuinfo", "re");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f) && !family) {
		amd |= !strncmp(line, "vendor_id", 9) &&
		       strstr(line, "AuthenticAMD");
		if (!strncmp(line, "cpu family", 10))
			family = atoi(strchr(line, ':') + 1);
	}
	fclose(f);
	return amd && family >= 0x17;
}

TEST_F(path, acs_redirect)
{
	const struct verdict through = OK(BRIDGE), stopped = NO(EHOSTUNREACH, ACS);
	char port[PCI_NAME_MAX], other[PCI_NAME_MAX];
	struct p2pbuf_probe_judge j;
	struct acs_peer peer;
	struct pci_bar bar;
	__u16 ctrl, redirect;
	bool decodes;
	int pos;

	if (self->topo->raw.path != P2PBUF_PATH_BUS)
		SKIP(return, "the importer is not behind a switch that routes");
	strcpy(peer.importer, self->importer);
	ASSERT_EQ(0, pci_upstream(self->importer, port));
	ASSERT_EQ(0, pci_upstream(port, peer.importer_switch));
	if (pci_find(is_acs_peer, &peer, other))
		SKIP(return, "no port of the switch has an ACS capability");

	ASSERT_EQ(0, pci_upstream(other, port));
	if (pci_bar_read(other, 2, &bar))
		ASSERT_EQ(0, pci_bar_read(other, 0, &bar));
	decodes = pci_decodes(other);
	ASSERT_EQ(0, pci_set_decode(other, true));
	pos = pci_ext_cap(port, PCI_EXT_CAP_ID_ACS);
	ASSERT_EQ(0, pci_config_read(port, pos + PCI_ACS_CTRL, &ctrl, 2));
	redirect = ctrl | PCI_ACS_RR | PCI_ACS_CR;
	ASSERT_EQ(0, pci_config_write(port, pos + PCI_ACS_CTRL, &redirect, 2));
	EXPECT_VERDICT(make(self->probe, segment(P2PBUF_PROBE_RAW, bar.start,
						 bar.size), NULL, 0),
		       cpu_forwards() ? through : stopped, pci_id(other), &j);
	EXPECT_EQ(pci_id(port), j.info.blocker);
	EXPECT_EQ(PCI_ACS_RR | PCI_ACS_CR, j.info.blocker_acs);

	/* The refusal does not outlive its cause. */
	redirect = ctrl & ~(PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_EC);
	ASSERT_EQ(0, pci_config_write(port, pos + PCI_ACS_CTRL, &redirect, 2));
	EXPECT_VERDICT(make(self->probe, segment(P2PBUF_PROBE_RAW, bar.start,
						 bar.size), NULL, 0),
		       self->topo->raw, pci_id(other), &j);
	EXPECT_EQ(P2PBUF_PATH_NO_DEVICE, j.info.blocker);

	ASSERT_EQ(0, pci_config_write(port, pos + PCI_ACS_CTRL, &ctrl, 2));
	ASSERT_EQ(0, pci_set_decode(other, decodes));
}

/* ---- host memory ----------------------------------------------------------- */

TEST_F(path, mapped_ram)
{
	struct p2pbuf_probe_judge j;

	/* Bounce buffers hold no more than 256 KiB in one piece. */
	EXPECT_VERDICT(make(self->probe, segment(P2PBUF_PROBE_RAM, 0,
						 64 << 10), NULL, 0),
		       self->topo->bounce ? bounced : host_memory,
		       P2PBUF_PATH_NO_DEVICE, &j);
	EXPECT_EQ(P2PBUF_PATH_NO_DEVICE, j.info.blocker);
}

TEST_F(path, raw_ram_address)
{
	struct p2pbuf_probe_judge j;

	EXPECT_VERDICT(make(self->probe, segment(P2PBUF_PROBE_RAM_RAW, 0,
						 64 << 10), NULL, 0),
		       self->topo->iommu ? nowhere : host_memory,
		       P2PBUF_PATH_NO_DEVICE, &j);
}

/* The worse part counts, wherever it is, and the BAR is named all the same. */
TEST_F(path, ram_and_bar)
{
	struct p2pbuf_probe_segment bar, ram;
	struct verdict want = host_memory;
	struct p2pbuf_probe_judge j;

	if (self->topo->raw.err && self->topo->mapped.err)
		SKIP(return, "the BAR cannot be reached here");
	bar = segment(self->topo->raw.err ? P2PBUF_PROBE_MMIO :
					    P2PBUF_PROBE_RAW,
		      self->bar.start, MIB);
	ram = segment(P2PBUF_PROBE_RAM, 0, 64 << 10);
	if (self->topo->bounce)
		want = bounced;
	EXPECT_VERDICT(make(self->probe, bar, &ram, 0), want,
		       pci_id(self->exporter), &j);
	EXPECT_EQ(2, j.segments);
	EXPECT_VERDICT(make(self->probe, ram, &bar, 0), want,
		       want.err ? P2PBUF_PATH_NO_DEVICE :
				  pci_id(self->exporter), &j);
}

/* Has the kernel a struct page for it? Reserved space without one is no RAM. */
static bool has_page(__u64 addr)
{
	int fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	__u64 flags = 1ULL << KPF_NOPAGE;

	if (fd < 0)
		return false;
	if (pread(fd, &flags, 8, addr / 4096 * 8) != 8)
		flags = 1ULL << KPF_NOPAGE;
	close(fd);
	return !(flags & 1ULL << KPF_NOPAGE);
}

TEST_F(path, reserved_memory)
{
	unsigned long long start, end;
	char line[160], next[160] = "";
	struct p2pbuf_probe_judge j;
	int seen = 0;
	FILE *f;

	if (self->topo->iommu)
		SKIP(return, "an IOMMU hides physical addresses");
	f = fopen("/proc/iomem", "re");
	ASSERT_NE(NULL, f);
	if (!fgets(next, sizeof(next), f))
		next[0] = 0;
	while (next[0]) {
		strcpy(line, next);
		if (!fgets(next, sizeof(next), f))
			next[0] = 0;
		/* What has something in it, a driver claimed. */
		if (next[0] == ' ' || !strstr(line, " : Reserved") ||
		    sscanf(line, "%llx-%llx", &start, &end) != 2 ||
		    start < MIB || start & 4095 || end - start < 4095)
			continue;
		seen++;
		EXPECT_VERDICT(make(self->probe, segment(P2PBUF_PROBE_RAW,
							 start, 4096), NULL, 0),
			       has_page(start) ? host_memory : nowhere,
			       P2PBUF_PATH_NO_DEVICE, &j);
	}
	fclose(f);
	if (!seen)
		SKIP(return, "nothing is reserved");
}

TEST_F(path, udmabuf)
{
	struct p2pbuf_probe_judge j;
	int fd;

	fd = ptk_udmabuf(self->topo->bounce ? 64 << 10 : 4 * MIB);
	if (fd < 0)
		SKIP(return, "no udmabuf: %s", strerror(-fd));
	EXPECT_VERDICT(fd, self->topo->bounce ? bounced : host_memory,
		       P2PBUF_PATH_NO_DEVICE, &j);
}

TEST_F(path, system_heap)
{
	struct p2pbuf_probe_judge j;
	int fd;

	fd = ptk_heap(self->topo->bounce ? 64 << 10 : 8 * MIB, O_RDWR);
	if (fd < 0)
		SKIP(return, "no dma-heap: %s", strerror(-fd));
	EXPECT_VERDICT(fd, self->topo->bounce ? bounced : host_memory,
		       P2PBUF_PATH_NO_DEVICE, &j);
}

/* ---- holes in an IOVA range ------------------------------------------------ */

static struct p2pbuf_probe_segment holed(__u32 kind, __u64 addr, __u32 hole)
{
	struct p2pbuf_probe_segment seg = segment(kind, addr, 4 * MIB);

	seg.hole = hole;
	return seg;
}

TEST_F(path, one_page_missing)
{
	static const __u32 holes[] = { 0, 5, 511, 512, 1022, 1023 };
	struct p2pbuf_probe_judge j;
	size_t i;

	if (!self->topo->iommu)
		SKIP(return, "no IOMMU translates");
	for (i = 0; i < sizeof(holes) / sizeof(*holes); i++)
		EXPECT_VERDICT(make(self->probe,
				    holed(P2PBUF_PROBE_RAM, 0, holes[i]),
				    NULL, 0),
			       nowhere, P2PBUF_PATH_NO_DEVICE, &j);
	if (self->topo->mapped.err)
		return;
	for (i = 0; i < sizeof(holes) / sizeof(*holes); i++)
		EXPECT_VERDICT(make(self->probe,
				    holed(P2PBUF_PROBE_MMIO, self->bar.start,
					  holes[i]), NULL, 0),
			       nowhere, ANY, &j);
}

static int set_full_mib(const char *value)
{
	int fd = open(FULL_MIB, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, value, strlen(value));
	close(fd);
	return n == (ssize_t)strlen(value) ? 0 : -EIO;
}

/* Sampling sees the ends and every 2 MiB, says so, and misses the rest. */
TEST_F(path, sampled)
{
	static const __u32 seen[] = { 0, 512, 1023 };
	struct p2pbuf_probe_judge j;
	size_t i;

	if (!self->topo->iommu)
		SKIP(return, "no IOMMU translates");
	EXPECT_VERDICT(make(self->probe, segment(P2PBUF_PROBE_RAM, 0, 4 * MIB),
			    NULL, 0), host_memory, P2PBUF_PATH_NO_DEVICE, &j);
	EXPECT_FALSE(j.info.flags & P2PBUF_PATH_F_SAMPLED);

	ASSERT_EQ(0, set_full_mib("3"));
	for (i = 0; i < sizeof(seen) / sizeof(*seen); i++)
		EXPECT_VERDICT(make(self->probe,
				    holed(P2PBUF_PROBE_RAM, 0, seen[i]), NULL,
				    0), nowhere, P2PBUF_PATH_NO_DEVICE, &j);
	EXPECT_VERDICT(make(self->probe, holed(P2PBUF_PROBE_RAM, 0, 5), NULL,
			    0), host_memory, P2PBUF_PATH_NO_DEVICE, &j);
	EXPECT_TRUE(j.info.flags & P2PBUF_PATH_F_SAMPLED);
	ASSERT_EQ(0, set_full_mib("256"));
}

/* Not a test of the verdict, but of nothing else being let in with it. */
TEST(probe_is_for_root)
{
	int fd;

	if (geteuid())
		SKIP(return, "not root");
	ASSERT_EQ(0, seteuid(65534));
	fd = open(P2PBUF_PROBE_DEVICE, O_RDWR);
	EXPECT_EQ(-1, fd);
	EXPECT_EQ(EACCES, errno);
	ASSERT_EQ(0, seteuid(0));
}

/* The probe is loaded for the time of the test: it would hold the core. */
int main(int argc, char **argv)
{
	bool loaded = !access("/sys/module/p2pbuf_probe", F_OK);
	int ret;

	if (!loaded && system("modprobe p2pbuf_probe"))
		ksft_print_msg("modprobe p2pbuf_probe failed\n");
	ret = test_harness_run(argc, argv);
	if (!loaded)
		syscall(SYS_delete_module, "p2pbuf_probe", 0);
	return ret;
}
