"""The FFmpeg demuxers that may read a file.

Only those that read nothing but the bytes they are given are named: a video from somewhere else
must not open further files, devices or addresses. Playlists (HLS, DASH, concat), image sequences,
VobSub, Magic Lantern and what a later FFmpeg adds are left out. A format goes by any of
its names, as FFmpeg's own lists do ("mov" allows "mov,mp4,m4a,3gp,3g2,mj2").
"""

from __future__ import annotations

_CONTAINERS = """
asf asf_o avi cine dhav dv flv frm gxf iff ifv ivf ivr kux live_flv lxf matroska mov mpeg mpegts
mpegtsraw mtv mxf nsv nut nuv obu ogg pmp pva r3d rm rpl ser smjpeg swf ty wtv yuv4mpegpipe
"""
_ELEMENTARY_STREAMS = """
apv av1 avs2 avs3 bit bitpacked cavsvideo dirac dnxhd evc h261 h263 h264 hevc ingenient ipu m4v
mjpeg mjpeg_2000 mpegvideo mpjpeg rawvideo simbiosis_imx v210 v210x vc1 vc1test vvc
"""
_PICTURES = """
apng bmp_pipe cri_pipe dds_pipe dpx_pipe exr_pipe fits gem_pipe gif gif_pipe hdr_pipe ico
image2pipe j2k_pipe jpeg_pipe jpegls_pipe jpegxl_anim jpegxl_pipe jpegxs_pipe pam_pipe pbm_pipe
pcx_pipe pfm_pipe pgm_pipe pgmyuv_pipe pgx_pipe phm_pipe photocd_pipe pictor_pipe png_pipe ppm_pipe
psd_pipe qdraw_pipe qoi_pipe sgi_pipe sunrast_pipe tiff_pipe vbn_pipe webp_pipe xbm_pipe xpm_pipe
xwd_pipe
"""
_GAMES_AND_ANIMATIONS = """
4xm alp anm argo_brp avs bethsoftvid bfi bink bmv c93 cdg cdxl dcstr dfa dsicin dxa ea ea_cdata
film_cpk filmstrip flic gdv hnm idcin ipmovie iv8 jv lmlm4 lvf mgsts mm moflex mv mvi mxg paf pdv
psxstr rl2 roq sdr2 sga siff smk smush thp tiertexseq tmv txd usm vidc viv vividas vivo vmd wc3movie
xmv yop
"""
_SOUND = "aac ac3 aiff ape au caf eac3 flac mp3 w64 wav wv"

DEMUXERS = ",".join(
    f"{_CONTAINERS} {_ELEMENTARY_STREAMS} {_PICTURES} {_GAMES_AND_ANIMATIONS} {_SOUND}".split()
)
"""The demuxers' names, as FFmpeg's option ``format_whitelist`` takes them.

Sound is among them so that a file without pictures can be said to be one.
"""
