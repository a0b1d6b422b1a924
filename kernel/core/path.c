// SPDX-License-Identifier: GPL-2.0
/*
 * Where do the DMA addresses of a mapping really lead?
 *
 * An exporter hands out DMA addresses and the importer's device will write to
 * them whatever they are. Exporters get them wrong (an untranslated BAR
 * address below an IOMMU that translates), kernels get them wrong, and nobody
 * notices: the writes are dropped and the device reports success. So nothing
 * is believed here. Each address is followed to what answers it.
 *
 * Model
 *	A mapping is a list of DMA segments. An IOMMU domain that translates
 *	turns each page of a segment into a physical address; without one the
 *	address is a bus address of the importer's host bridge, or a physical
 *	address. Adjacent pages make a run. A run lies in one range of the
 *	table (path_table.c): RAM, or the BAR of one PCI function. How the
 *	importer reaches a BAR is a route (path_route.c). A segment is not a
 *	run: behind an IOMMU one segment can be many runs.
 *
 * Rules
 *	1. If the DMA layer does not tell where addresses lead, or an address
 *	   exceeds the device's DMA mask: refuse.
 *	2. The IOMMU translates the address: a BAR is reached through the host
 *	   bridge, if that forwards; RAM is RAM.
 *	3. The IOMMU has nothing there: the address may still be meant for a
 *	   switch, which routes it before the IOMMU sees it. That needs a live
 *	   BAR at this bus address, a common upstream port, and no ACS redirect
 *	   on the way. A hypervisor's switch does not do it: the IOMMU it models
 *	   comes first and the write is lost. Refuse there, accept on bare
 *	   metal and say that it is unproven.
 *	4. No IOMMU, or it passes addresses on: a BAR is reached through a switch
 *	   if that routes it, else through the host bridge if that forwards.
 *	5. A BAR is live when the function and every bridge above it decode
 *	   memory and the BAR register holds what the kernel thinks it does.
 *	6. Bounce buffers, interrupt addresses, and anything else that is
 *	   neither RAM nor a BAR: refuse. Memory that the firmware reserved,
 *	   that no driver claimed and that the kernel has a struct page for
 *	   counts as RAM, with a warning; what is reserved without one is
 *	   flash, interrupt space and the like.
 *	7. The device that stands for the CPU (cpu.c) reaches each live BAR, and
 *	   does so through the host bridge.
 *	The worst part of a mapping is its path: host memory, host bridge, bus.
 *
 * What a verdict does not prove
 *	- That bytes arrive. It is read from registers and page tables; broken
 *	  hardware, or a model of it that ignores its own tables, still loses
 *	  data. Only a DMA whose result is looked at proves delivery.
 *	- That the addresses belong to this buffer. It names the function whose
 *	  BAR they lie in; whether that is the right one the caller must know.
 *	- That the IOMMU lets the device write; page permissions are not seen.
 *	- Anything about the pages between the samples of a large mapping
 *	  (P2PBUF_PATH_F_SAMPLED): a hole smaller than the step is missed.
 *	- Anything after the exporter invalidates the mapping. Until then the
 *	  exporter keeps the memory where it is, and a BAR that stops decoding
 *	  meanwhile fails as it would under any driver.
 */
#include <linux/cpufeature.h>
#include <linux/device.h>
#include <linux/dma-buf.h>
#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/export.h>
#include <linux/iommu.h>
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/swiotlb.h>

#include "p2pbuf_core.h"
#include "path.h"

static unsigned int path_full_mib = 256;
module_param(path_full_mib, uint, 0644);
MODULE_PARM_DESC(path_full_mib,
		 "Behind an IOMMU, look up every page of mappings up to this size in MiB (default 256), and of larger ones a page every 2 MiB");

#define PATH_SAMPLE_STEP	SZ_2M

/* What x86 chipsets take for an interrupt before anything else sees it. */
#define PATH_MSI_START		0xfee00000ULL
#define PATH_MSI_END		0xfeefffffULL

/* As documented with enum p2pbuf_reason. */
static const int path_errno[] = {
	[P2PBUF_REASON_NO_ROUTE] = -EHOSTUNREACH,
	[P2PBUF_REASON_ACS] = -EHOSTUNREACH,
	[P2PBUF_REASON_DEAD_BAR] = -EHOSTDOWN,
	[P2PBUF_REASON_NOWHERE] = -EFAULT,
	[P2PBUF_REASON_BUS_UNDER_IOMMU] = -EFAULT,
	[P2PBUF_REASON_BOUNCE] = -EADDRNOTAVAIL,
	[P2PBUF_REASON_OPAQUE] = -ENODATA,
	[P2PBUF_REASON_UNALIGNED] = -EFAULT,
};

/**
 * struct path_judge - one verdict in the making
 * @attach: the attachment
 * @dev: its device
 * @importer: the PCI function that issues @dev's requests; NULL when none does
 * @domain: the IOMMU domain that translates @dev's addresses, or NULL
 * @page: step of the look-up through @domain, in bytes
 * @sampled: the mapping is too large to look up every page
 * @table: RAM and BARs
 * @bar: the BAR found so far, in @table, or NULL
 * @info: the verdict
 */
struct path_judge {
	struct dma_buf_attachment *attach;
	struct device *dev;
	struct pci_dev *importer;
	struct iommu_domain *domain;
	u64 page;
	bool sampled;
	struct path_table table;
	struct path_range *bar;
	struct p2pbuf_path_info *info;
};

static bool path_under_hypervisor(void)
{
#ifdef CONFIG_X86
	return boot_cpu_has(X86_FEATURE_HYPERVISOR);
#else
	/* Not told there: take the answer that loses no data. */
	return true;
#endif
}

static int path_refuse(struct path_judge *j, u32 reason,
		       struct pci_dev *blocker, u16 acs)
{
	j->info->path = P2PBUF_PATH_REFUSED;
	j->info->reason = reason;
	j->info->blocker = p2pbuf_function_id(blocker);
	j->info->blocker_acs = acs;
	return path_errno[reason];
}

/* The values of enum p2pbuf_path are in the order from best to worst. */
static int path_accept(struct path_judge *j, enum p2pbuf_path path)
{
	j->info->path = max_t(u32, j->info->path, path);
	return 0;
}

/*
 * One verdict names one function. Two of them in one buffer is what running
 * off the end of a BAR into a neighbour's looks like, and no exporter's intent.
 */
static int path_note_bar(struct path_judge *j, struct path_range *bar)
{
	if (j->bar && j->bar->owner != bar->owner)
		return path_refuse(j, P2PBUF_REASON_NOWHERE, NULL, 0);
	if (j->bar)
		return 0;
	j->bar = bar;
	j->info->exporter = p2pbuf_function_id(bar->owner);
	j->info->exporter_bar = bar->bar;
	return 0;
}

/* The request went up to the host bridge; does that send it down again? */
static int path_judge_bridge(struct path_judge *j, struct path_range *bar)
{
	const struct path_route *route = path_route_find(bar, j->importer);
	struct pci_dev *host;
	int ret;

	if (path_route_forwards(bar, j->importer)) {
		j->info->blocker = p2pbuf_function_id(route->redirector);
		j->info->blocker_acs = route->acs;
		return path_accept(j, P2PBUF_PATH_BRIDGE);
	}
	if (route->redirector)
		return path_refuse(j, P2PBUF_REASON_ACS, route->redirector,
				   route->acs);

	host = path_route_host_bridge(bar->owner);
	ret = path_refuse(j, P2PBUF_REASON_NO_ROUTE, host, 0);
	pci_dev_put(host);
	return ret;
}

/* Loads and stores of the CPU come down from the host bridge. */
static int path_judge_cpu(struct path_judge *j, struct path_range *bar)
{
	/* Whether it decodes does not depend on who asks. */
	const struct path_route *route = path_route_find(bar, bar->owner);

	if (!route->live)
		return path_refuse(j, P2PBUF_REASON_DEAD_BAR, route->deaf, 0);
	return path_accept(j, P2PBUF_PATH_BRIDGE);
}

/* Rules 2, 4 and 5; @bus says that the address is one a switch understands. */
static int path_judge_bar(struct path_judge *j, struct path_range *bar,
			  bool bus)
{
	const struct path_route *route;
	int ret;

	ret = path_note_bar(j, bar);
	if (ret)
		return ret;
	if (j->dev == p2pbuf_cpu_device())
		return path_judge_cpu(j, bar);
	if (!j->importer)
		return path_refuse(j, P2PBUF_REASON_OPAQUE, NULL, 0);

	route = path_route_find(bar, j->importer);
	if (!route->live)
		return path_refuse(j, P2PBUF_REASON_DEAD_BAR, route->deaf, 0);
	if (bus && route->bus)
		return path_accept(j, P2PBUF_PATH_BUS);
	return path_judge_bridge(j, bar);
}

/*
 * Does the CPU have to do something around each transfer? dma_need_sync() knows
 * for direct mappings. Behind an IOMMU it says yes for all mappings of a device
 * once a single one was bounced, so look closer there.
 */
static bool path_needs_sync(struct path_judge *j, dma_addr_t addr,
			    phys_addr_t phys)
{
	if (!dma_need_sync(j->dev, addr))
		return false;
	if (!j->domain)
		return true;
#ifdef CONFIG_SWIOTLB_DYNAMIC
	return true;		/* modules cannot look the pools up there */
#else
	return !dev_is_dma_coherent(j->dev) ||
	       swiotlb_find_pool(j->dev, phys);
#endif
}

struct path_span {
	u64 start;
	u64 end;
	bool covered;
};

static int path_span_covered(struct resource *res, void *arg)
{
	struct path_span *span = arg;

	/* @res is clipped to the span. */
	span->covered = res->start == span->start && res->end == span->end;
	return span->covered;
}

/* Reserved memory, and not flash, ECAM or another thing a driver claimed. */
static bool path_is_reserved(u64 start, u64 end)
{
	struct path_span span = { .start = start, .end = end };

	walk_iomem_res_desc(IORES_DESC_RESERVED, IORESOURCE_MEM, start, end,
			    &span, path_span_covered);
	return span.covered && pfn_valid(PHYS_PFN(start)) &&
	       pfn_valid(PHYS_PFN(end)) &&
	       region_intersects(start, end - start + 1,
				 IORESOURCE_MEM | IORESOURCE_BUSY,
				 IORES_DESC_NONE) == REGION_DISJOINT;
}

static int path_judge_unlisted(struct path_judge *j, u64 start, u64 end)
{
	if (!path_is_reserved(start, end))
		return path_refuse(j, P2PBUF_REASON_NOWHERE, NULL, 0);

	dev_warn_ratelimited(j->dev,
			     "p2pbuf: a mapping leads to memory that the firmware reserved; taken for host memory\n");
	return path_accept(j, P2PBUF_PATH_SYSTEM);
}

static int path_judge_ram(struct path_judge *j, struct path_range *ram,
			  dma_addr_t addr, u64 start, u64 end)
{
	if (end > ram->end)
		return path_refuse(j, P2PBUF_REASON_NOWHERE, NULL, 0);
	if (path_needs_sync(j, addr, start) ||
	    path_needs_sync(j, addr + (end - start), end))
		return path_refuse(j, P2PBUF_REASON_BOUNCE, NULL, 0);
	return path_accept(j, P2PBUF_PATH_SYSTEM);
}

/* The BAR's end is inside: name the owner, then refuse. */
static int path_judge_overrun(struct path_judge *j, struct path_range *bar)
{
	int ret = path_note_bar(j, bar);

	return ret ?: path_refuse(j, P2PBUF_REASON_NOWHERE, NULL, 0);
}

/* The physical addresses @start to @end, which the IOMMU made of @addr on. */
static int path_judge_run(struct path_judge *j, dma_addr_t addr, u64 start,
			  u64 end)
{
	struct path_range *range = path_table_find(&j->table, start);

	if (!range)
		return path_judge_unlisted(j, start, end);
	if (!range->owner)
		return path_judge_ram(j, range, addr, start, end);
	if (end > range->end)
		return path_judge_overrun(j, range);
	return path_judge_bar(j, range, false);
}

/* What a bus address of the importer's host bridge is as a physical one. */
static u64 path_bus_to_phys(struct path_judge *j, u64 addr, u64 len)
{
	struct pci_bus_region region = { .start = addr, .end = addr + len - 1 };
	struct resource res = { .flags = IORESOURCE_MEM };

	if (!j->importer)
		return addr;
	pcibios_bus_to_resource(j->importer->bus, &res, &region);
	return res.start;
}

/* Rule 3: the IOMMU translates, but has nothing for this page. */
static int path_judge_untranslated(struct path_judge *j, dma_addr_t addr,
				   u64 len)
{
	u64 phys = path_bus_to_phys(j, addr, len);
	struct path_range *bar = path_table_find(&j->table, phys);
	const struct path_route *route;
	int ret;

	if (!bar || !bar->owner || !j->importer)
		return path_refuse(j, P2PBUF_REASON_NOWHERE, NULL, 0);
	if (phys + len - 1 > bar->end)
		return path_judge_overrun(j, bar);

	ret = path_note_bar(j, bar);
	if (ret)
		return ret;
	route = path_route_find(bar, j->importer);
	if (!route->live)
		return path_refuse(j, P2PBUF_REASON_DEAD_BAR, route->deaf, 0);
	if (!route->bus)
		return path_refuse(j, P2PBUF_REASON_NOWHERE, route->redirector,
				   route->acs);
	if (j->info->flags & P2PBUF_PATH_F_HYPERVISOR)
		return path_refuse(j, P2PBUF_REASON_BUS_UNDER_IOMMU, NULL, 0);

	j->info->flags |= P2PBUF_PATH_F_UNPROVEN;
	return path_accept(j, P2PBUF_PATH_BUS);
}

/* Offset of the next page to look up; the last page is always among them. */
static u64 path_next(struct path_judge *j, u64 off, u64 len)
{
	if (!j->sampled || off + j->page >= len)
		return off + j->page;
	return min(off + PATH_SAMPLE_STEP, len - j->page);
}

/* A segment behind an IOMMU that translates: page by page, judged by runs. */
static int path_judge_iova(struct path_judge *j, dma_addr_t addr, u64 len)
{
	u64 off, start = 0, end = 0;
	dma_addr_t first = 0;
	int ret;

	for (off = 0; off < len; off = path_next(j, off, len)) {
		u64 n = min(j->page, len - off);
		u64 phys = iommu_iova_to_phys(j->domain, addr + off);

		if (phys && end && phys == end + 1 && !j->sampled) {
			end += n;
			continue;
		}
		if (end) {
			ret = path_judge_run(j, first, start, end);
			if (ret)
				return ret;
			end = 0;
		}
		if (!phys) {
			ret = path_judge_untranslated(j, addr + off, n);
			if (ret)
				return ret;
			continue;
		}
		first = addr + off;
		start = phys;
		end = phys + n - 1;
	}
	return end ? path_judge_run(j, first, start, end) : 0;
}

/*
 * A segment without translation. A switch takes the address for a bus address;
 * the host bridge takes it for a physical one, and RAM may be seen through the
 * DMA layer's own offset. On x86 the three are the same but for memory
 * encryption.
 */
static int path_judge_direct(struct path_judge *j, dma_addr_t addr, u64 len)
{
	u64 phys = path_bus_to_phys(j, addr, len);
	struct path_range *range = path_table_find(&j->table, phys);

	if (range && range->owner) {
		if (phys + len - 1 > range->end)
			return path_judge_overrun(j, range);
		/* A bus address means something on its own host bridge only. */
		if (phys == addr || (j->importer &&
				     path_route_find(range, j->importer)->bus))
			return path_judge_bar(j, range, true);
	}

	range = path_table_find(&j->table, addr);
	if (range && range->owner) {
		if (addr + len - 1 > range->end)
			return path_judge_overrun(j, range);
		return path_judge_bar(j, range, false);
	}

	phys = dma_to_phys(j->dev, addr);
	range = path_table_find(&j->table, phys);
	if (range && !range->owner)
		return path_judge_ram(j, range, addr, phys, phys + len - 1);
	return path_judge_unlisted(j, phys, phys + len - 1);
}

/* Bouncing is what the DMA layer does about parts of pages, where it may. */
static int path_judge_unaligned(struct path_judge *j, dma_addr_t addr)
{
	u64 phys = j->domain ? iommu_iova_to_phys(j->domain, addr) : 0;

	return path_refuse(j, path_needs_sync(j, addr, phys) ?
			   P2PBUF_REASON_BOUNCE : P2PBUF_REASON_UNALIGNED,
			   NULL, 0);
}

static int path_judge_segment(struct path_judge *j, dma_addr_t addr, u64 len)
{
	u64 last;

	if (check_add_overflow((u64)addr, len - 1, &last) ||
	    last > dma_get_mask(j->dev))
		return path_refuse(j, P2PBUF_REASON_OPAQUE, NULL, 0);
	if (!IS_ALIGNED(addr | len, PAGE_SIZE))
		return path_judge_unaligned(j, addr);
	if (IS_ENABLED(CONFIG_X86) && addr <= PATH_MSI_END &&
	    last >= PATH_MSI_START)
		return path_refuse(j, P2PBUF_REASON_NOWHERE, NULL, 0);

	return j->domain ? path_judge_iova(j, addr, len) :
			   path_judge_direct(j, addr, len);
}

static int path_judge_segments(struct path_judge *j, struct sg_table *sgt)
{
	struct scatterlist *sg;
	u64 total = 0;
	int i, ret;

	for_each_sgtable_dma_sg(sgt, sg, i)
		total += sg_dma_len(sg);
	/* Whatever lies behind the last segment has no address at all. */
	if (!total || total < j->attach->dmabuf->size)
		return path_refuse(j, P2PBUF_REASON_NOWHERE, NULL, 0);

	if (j->domain && total > (u64)READ_ONCE(path_full_mib) * SZ_1M) {
		j->sampled = true;
		j->info->flags |= P2PBUF_PATH_F_SAMPLED;
	}

	for_each_sgtable_dma_sg(sgt, sg, i) {
		if (!sg_dma_len(sg))
			continue;
		ret = path_judge_segment(j, sg_dma_address(sg), sg_dma_len(sg));
		if (ret)
			return ret;
	}
	return 0;
}

/* Rule 1, and which of rules 2 and 4 applies. False: nobody can tell. */
static bool path_find_domain(struct path_judge *j)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(j->dev);

	if (!domain || domain->type == IOMMU_DOMAIN_IDENTITY)
		return !get_dma_ops(j->dev);

	j->domain = domain;
	j->info->flags |= P2PBUF_PATH_F_IOMMU;
	j->page = PAGE_SIZE;
	if (domain->pgsize_bitmap)
		j->page = min_t(u64, PAGE_SIZE,
				1ULL << __ffs(domain->pgsize_bitmap));
	/* A blocking domain leads nowhere and needs no look-up to say so. */
	return domain->type == IOMMU_DOMAIN_BLOCKED ||
	       (domain->ops && domain->ops->iova_to_phys);
}

static struct pci_dev *path_pci_function(struct device *dev)
{
	for (; dev; dev = dev->parent)
		if (dev_is_pci(dev))
			return to_pci_dev(dev);
	return NULL;
}

static void path_log(struct path_judge *j)
{
	const struct p2pbuf_path_info *info = j->info;
	char target[48] = "", blocker[64] = "";

	if (j->bar)
		scnprintf(target, sizeof(target), " in BAR %d of %s",
			  j->bar->bar, pci_name(j->bar->owner));
	if (info->blocker != P2PBUF_PATH_NO_DEVICE)
		scnprintf(blocker, sizeof(blocker),
			  "; in the way: %04x:%02x:%02x.%d%s%s%s%s",
			  info->blocker >> 16, PCI_BUS_NUM(info->blocker),
			  PCI_SLOT(info->blocker), PCI_FUNC(info->blocker),
			  info->blocker_acs ? " with ACS" : "",
			  info->blocker_acs & PCI_ACS_RR ? " ReqRedir" : "",
			  info->blocker_acs & PCI_ACS_CR ? " CmpltRedir" : "",
			  info->blocker_acs & PCI_ACS_EC ? " EgressCtrl" : "");
	dev_info_ratelimited(j->dev,
			     "p2pbuf: cannot reach a buffer of %s%s: %s%s\n",
			     j->attach->dmabuf->exp_name, target,
			     p2pbuf_reason_text(info->reason), blocker);
}

/**
 * p2pbuf_path_judge - find out where a mapping leads
 * @attach: the attachment
 * @sgt: what dma_buf_map_attachment() returned for it, still mapped
 * @info: the verdict; all fields are written but @info->generation
 *
 * Looks at every segment, as the head of this file describes. A refusal is
 * logged in one sentence, rate-limited, without addresses. Nothing is changed,
 * neither in the devices nor in what the kernel remembers of them.
 *
 * Context: resv of the dma-buf held, so that the mapping cannot be
 * invalidated meanwhile. May sleep and allocate. The device of @attach must be
 * bound to a driver.
 *
 * Return: 0 when the device reaches all of the buffer; @info->path is then
 * %P2PBUF_PATH_BUS, %P2PBUF_PATH_BRIDGE or %P2PBUF_PATH_SYSTEM, the worst that
 * any part of it has. Otherwise @info->path is %P2PBUF_PATH_REFUSED,
 * @info->reason says why, and the errno is the one documented with the reason:
 * -EHOSTUNREACH, -EHOSTDOWN, -EFAULT, -EADDRNOTAVAIL or -ENODATA. -ENOMEM: no
 * verdict could be made, @info->path is %P2PBUF_PATH_NONE.
 */
int p2pbuf_path_judge(struct dma_buf_attachment *attach, struct sg_table *sgt,
		      struct p2pbuf_path_info *info)
{
	struct path_judge j = {
		.attach = attach,
		.dev = attach->dev,
		.importer = path_pci_function(attach->dev),
		.info = info,
	};
	int ret;

	dma_resv_assert_held(attach->dmabuf->resv);

	*info = (struct p2pbuf_path_info){
		.importer = p2pbuf_function_id(j.importer),
		.exporter = P2PBUF_PATH_NO_DEVICE,
		.blocker = P2PBUF_PATH_NO_DEVICE,
		.generation = info->generation,
	};
	if (path_under_hypervisor())
		info->flags |= P2PBUF_PATH_F_HYPERVISOR;

	ret = path_table_build(&j.table);
	if (ret)
		return ret;

	if (path_find_domain(&j))
		ret = path_judge_segments(&j, sgt);
	else
		ret = path_refuse(&j, P2PBUF_REASON_OPAQUE, NULL, 0);
	if (ret)
		path_log(&j);

	path_table_free(&j.table);
	return ret;
}
EXPORT_SYMBOL_GPL(p2pbuf_path_judge);
