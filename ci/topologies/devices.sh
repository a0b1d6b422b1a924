# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# Devices that more than one topology has.

EXPORTER=ivshmem-plain,id=exporter,memdev=bar
EDU=edu,dma_mask=0xffffffffffffffff
NVME=nvme,id=main,serial=main,drive=main,mdts=8

bar() { FIRST+=(-object "memory-backend-ram,id=$1,size=$2,share=on"); }
