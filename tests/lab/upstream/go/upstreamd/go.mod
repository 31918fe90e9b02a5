module kpack.lab/upstreamd

go 1.22
