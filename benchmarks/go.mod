module atrium.test/benchmarks

go 1.22
