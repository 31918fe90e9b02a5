module kpack.lab/hello

go 1.22
