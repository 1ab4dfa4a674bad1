"""Recordings of 1.5 seconds of silence, as FFmpeg writes them in each format."""

import base64
import zlib

_PACKED = {
    "pcm.wav": (
        "c-rmEF$%&!5CzcD14wEsPavAYQm}AgAt;!jbwJYD1-n4*W$(G%(nGxWr})2_TTbcwiFlmu=ixPOs)$&W%*Rruh-FmK<hEOvnJ?*@"
        "+tjT}Z~FIesJHuayE>lz*w5t)0000000000000000000000000000000000000000000000000000000008{^0rr{@fB"
    ),
    "a.flac": (
        "c-rmSzb^xE7{~Fa?wo7uP(_$rEYjt|B}Jkn=-5SKkcgq-Iv^z4A`(&z7Lj!BWV0BE!6HbE1~wKUU2H6*TYa9<pCI|X^Zh2T?~gy>"
        "$z`%rBGPA;%#uh{#4$ePOJx3bYrOh?RbJW8r|&n<CyYZ=#B=a9likP-`Q9MbfFHs|Cw8#9u(lYikNtVv6IU2xj4{R-V~jDz7-"
        "Nhv#u#IaG4}tf*OImvz*1TnGC?b)Y|vqXi%X>u0bd`KW-mB*qHOF2hhLOd3_O@tHg$oY38g&>hL4ru6d3#{BT4XSR~hxeYfIVO4~"
        "{G=9T%L5D_auaTSeLGfk#zkTOK@nRK^P6-KnyD2Q0eE_%_%xTdx)E4&&w<hsoz(0mot@"
    ),
    "opus.ogg": (
        "c-r$%PY-5bVt@ke)O~dzy4=hono-!lptRT{H8F*e(SosIH&}r`NI3(taz-"
        "G%sMujEqZvqfNMd?1FHpoMu`JEZNY4<642(cZM1eRpFF8LYwa6Al5@I6Mc(92e*QA}X);3}$8T|PFZxAA|7g;K#7~x)I2GXT{i-"
        "M%+<rM&O^a+I"
    ),
    "cbr.mp3": (
        "c-r%HF=k-^0p*b3U{@f`&%nU!lUSB!W~65bL<U9-2=M=RzySty;F*_}57Eb9&A?#rlYxVWM^I2yQc_k{Nli^lOV8NY+}zsQ-"
        "o?ek!zVB>G&C|cHYq7BD=ROrxVXH!y1u@pqob#1;?$`#XU?6wXxXw=tJZDaynXxb0|$;AIdSI9#fw+3-"
        "n@JF(W7UtUcGzw`TO_ZzyE{m1vwJKF)A##APj?_*}vDmVZaZ7{yD<He1L&*36P_}z+lqAz`)|;=<8|>^teGN@qipXGywm92OWuRM"
        ")MC@CJiDFEgbdGsE0;9H0q&I4~=?g)I*~l8uieqheka#>Y-5&je2O*L!%xV_0Xt?Mm;p@p-~TwdT7)`qaGUd(5Qz-"
        "Jv8c}Q4fuJXw*Za9vbz~sE0;9H0q%t>!Cs7pW*1CfFp~ThmVIwv(TuAMm;p@p-~TwP!A0fFzh@80N#A;@c"
    ),
    "vbr.mp3": (
        "c-r%HF=k-^0p*b3U{@f`&%nU!lUSB!W~65bL<U9-2=M=N!2vkOGcPS4qMpHqfr0HDgPf9*nwFNXuA!-"
        "^rKPQdgNuuYk552ANO*X3bbNAhdU{q~UQtn5RaISGV{2<?XYa&`Q>V_DGiSkqB`a2}UcG+v=Iz^e@85su(6Lje&Yin-"
        "_3F)=cOO1{`t;?SHy=KH`SIh=pZ_3xL5^cU2P(|H5C+@1aFa*(QRM!A7B~W=m_5L{9erIxL4+~TZy*_7n2bRv5FpD);gnIwDPw|D"
        "#u2BCA5NKQoH7|WWlC|%G~tx#$0;)hr_4&6GTU&<9L6bg0jJDeoHDO)%6uA?8I_@m3=E*igpSG#2N?hfv<!#"
    ),
    "noxing.mp3": (
        "c-rmGu?c`M6a>%@?jsQ=un<ycnQa`;jT|6G&=q3yuDFA%UcK@e5kqbj+p@2vlxOB~N~!cuZJy)vydMt_4-XFy4-XFy4-XFy4-"
        "XFy4-XFyPk+y!xdB!)_r("
    ),
    "aac.m4a": (
        "c-"
        "rk0%Sr<=aFVv#gGv!akqQ;`W~DA79$WF?K|v5bh?lg<*4m`IY|?_Bdh|y;2>ykBhIkYFi#o}+G_4?b)?tTv?z}P#02D)W7oYCcN&"
        "plrZRtoM1^|!`6CnV|hT_b;Q#fJ0#(uC99PI2?0-%-"
        "Z0$DB1{&fV%W>ggQa9~pPZa7Rp<`W?I1_bOk1~Tb2Emz@3pcuDo64plk+O%EH%=c)R*VB>T=iL<CXrx6UwHg0m<7S8d(nrNx44IP"
        "R)4e|*0htLeUY$_B;W8Onbkyzmp64j@W7gqPSRZ<(TAdJ?f>skjH+iZr@<fDQ3v=B>mQtQBX;YWT-"
        ")f_|=X0gvJ@&0_0)=6z7WRea+C5vp-`_%G7U@cL*?G=CVCyeA)Z`ZPmme^L9HF*#ZQPiKPXjeKp0pZQEmqR-GFv=MDY3SDuS2W1>"
        "9YR__>zsto7*<xnr_D23P~j8aNcAva8s@~V;Eb!DMP)>4Rbpn%xDKT{Ds6NPFNgEe<{nYbnCaCOk~Sg$1BK2%Y(Nt#9O!<*jxAoh"
        "1PxM"
    ),
    "fast.m4a": (
        "c-rk$PfG$p6o0d>=AlBOD8gU`Jz6Fr9W^?1C<vks(PedZ)tqscol&Th$G%91pl?whBf15B3wtxW;;0aGuE##!oA-"
        "P3{>@_nAn(ij@VwS^04z|lCjyRK1+Y^*2u1+F_^3-"
        "^j#6I$>31NYz8R5uuf=l%ek2RymSyDjQNNXaoinu@4f7f{^836+k4k|u?=c}~H&k3ZxobUf+H+BHI9=@h<pfB^zk1V$a+k7biilu"
        "1Fg-8vOi$ebWuEe}E_iR?qmmPRE@+X)_B@R|-)LcV7%?Z-"
        "txX|Y4D~x91vPwbcvy3n+9r@oN>x<%1Qq((#^Z4bK^x_EV@rFkJ!0#xX|$v_ve%!GL5*0dbs_bblBa>D9#342t`;k48<`a!$C4=Q"
        "!RS!gRXY2h0bjBm%;shvpxhOmkg5Sj0b|L$$z-CZ-0FldLyRdyYe=Q5cfga=9VnO!iAx;0VaUv-"
        "EcfEAFFngZm9a-%eOWKhnLG09)%`>KD)<Y4tRHzEVg-&~AC|(~h*ys^ZdDrVWXD<g>--JEQ+@3"
    ),
    "frag.mp4": (
        "c-"
        "rk$%}N6?5T2y1dQd51(St&T3W8L$NYPtS4<5XU9@NXW*`=kMZb_y^MWhE0zKY;0h!;=3gWd!m!%5nu*%buO8aDgQOeV?vWdNWU;8"
        "nM!BMHF4Ak8YxitKK0k?cuEQ6B(8*>4I+jLfG6X20=ZNv$+rgC7T{4bP~&HqjT@ws&TJINi$FukU5&QnWlGic+NgdOR@ylNZaBn<"
        "7;4ijI06SM!*7ap-kK=o=k2AzPh*h`g4GLrY>PUlPg>9P_4oDlCrZSB>?M@K&Q1j!uUX;eB(7L4Is1RDCV9P03&|Sf#}*;X<uoHD"
        "~V4%#kEFH+A{}6GSlzGtAdfAvikLazyP|PP}e7{5<j3sX&uXBXamP+4nC^Xi-^=El($?-"
        "V<m%JCi=f9<I3IrW7f!+YQ}K<yNST(W?&_nM;?2XE)o!kGy_Rt!!-"
        "3w^^ZDx}oB=`H(@=i76LUU`AfTp?r629e)GJ8lu2Q9%CRdX*w^VGKG*a;yvQ;;yokG{^MUo9t@GKNUF?tZfdeYHCfrQHOV(?vuv?"
        "A`PU}}X<r7)yxespWXT4XY8CvA*&a{tSjC-Y{|ne7ixd"
    ),
    "adts.aac": ("c-s5_F~EU&{-1kH3_giv$!11+MizR821X1_1`d4xfpU!Xe;6ec*hiV8%%RK#06#Gt5d"),
    "opus.webm": (
        "c-"
        "pnp(MwZN90%}o<_^_Elz~xEL_rS)jZH8t2)64kH0ZkYZVREvxy=z_7`ItHL_6EuW+pX8NNH?y^kA8wwW2P8QGz|}p@+~OB!onQf-"
        "ItX$hvpCU&242ALqj7$Kf7+9KM`w;`?GwNOCIt(7vzSEPUf@g;?T3sH00rX>BhzZIPp4O7t@K)Jj9=pGj)Jd_Pg=8ts(Fc%j;D_K"
        "cs=x;aU`rgfV<FT?U!j0)9uyR2%PF?0K;>N%v1{IAldn%p-#5#J!#rRcy>e^2LudW%h4*81a))xEPXZ6CZ*`Ar{xaom{h#4M-"
        "EboxrX>}$C=_+gln-KF7p<ZLj_Niyj;<v!+>efQ!4OWvm@%&#7iI5#b1a-"
        "5dZ_NDI15gkFkF))&KcSn>XA%Bq4MjBNsJNnhkDM~&t6%Eha7K<sdxykJmTb-%Z!zs#SV5&dxZ;bFvK`f@7-"
        "d2al<!*MSvR3OMec3Dx)<$ck$j+w65kXzzq?qD_M1THS(NPEN1r7r(KnS=53;+e71iS|3fn@`f0b7CnfCKOXr-"
        "92r2Dl461<Jqz@ZErE9k2ti0V2=_bO9W=35){Ifj7V+@XJ8WdSDmO0JwmYz&W57xCJ}_UI1@_kHBvO=2~D6a1f9HKM(=>fIGkhFb"
        "%u|J{w>ZKz<nV!;l|_{4nH)AwLZHVaN|depn?x`D{VsJkdDB*F;7Vq`cCuzZ4nu`a@2hT-9Er<rvL<;Wd8&ku6B`"
    ),
    "live.webm": (
        "c-p<u-%FEG9LMqJY>Vt7`ay~X6?Iinl0rX-g6+`<5?ZsKX#_>-"
        "HfMyfSgVABoo#M|6cXto72I4ArU`+IVhKhC2JNDY@TMp)WDs4H71fRQJag}h{R4eD2VNfz9KL+No3u}vVKpv=`rEh*(x(296>21Q"
        "&DYkcCXCoEE!BG1FP4^TopbQYm@{`vAB$Bsj<)OLGQFIt+!Gg#ly~NOjI`eU(yxz4#DT9uDOQK_pUUj&!LHfI(KV{w8SXvSdbNFj"
        "T}`cV_ST(plxMT&`H518XJ(}czD{;k9a{Jj*fKCAmF?M~Xy}qRDV2EKan9A$thYRjdTLTFxtQ(Mq!N{uxxQg3vPpX(Q2e6JE7y8P"
        "`dxug@TjlVE5tz&&J|zGd1QjYlxI5ZpBd0H3GH~jt3f;2kSOnHYyFdu<9R_UnS@l7@Smkc6O~{mI08-"
        "pALs(TAPutM4fqJYmmpSvjbIOOfM#$3+ys5#K6nQ5U=I8$!LkZ$2DLx~r$Hx>;0_oCQ{Ww#2Y*Yjt_It{KF|oxg3F*A+y#%o3lqf"
        "+S_={D`?3{o06V~8&;-2TI_Lo@FbQVB2k?!t+CVkf4eY=TI=~HZ8{7j=!CUYd{4|m3PaA`+Pz(;rm7$TCl3zUk4@HhBp#"
    ),
}


def recording(name: str) -> bytes:
    """The bytes of a file."""
    return zlib.decompress(base64.b85decode(_PACKED[name]))
