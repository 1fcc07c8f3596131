-- For wrk: posts the file BENCHMARK_BODY again and again, and prints what came of it as JSON.
local file = io.open(os.getenv("BENCHMARK_BODY"), "rb")
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "multipart/form-data; boundary=benchmark"
wrk.headers["Authorization"] = "Bearer sk-benchmark"
file:close()

done = function(summary)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format('{"edits": %d, "seconds": %.6f, "failed": %d, "bytes": %d}\n',
    summary.requests, summary.duration / 1e6, failed, summary.bytes))
end
