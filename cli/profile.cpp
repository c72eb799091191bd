// rtrain profile: traces of a running job's next steps.
#include "cli/job_reference.h"
#include "cli/parse.h"
#include "cli/rank_list.h"
#include "cli/settings.h"
#include "cli/wait_while.h"

#include <filesystem>
#include <system_error>

namespace rtrain::cli {

namespace {

constexpr double kProfileTimeoutS = 300;
constexpr std::int64_t kProfileStepsMax = 10'000;

struct ProfileCall {
  proto::Json body;
  std::optional<std::string> file;  ///< of --output
};

Result<ProfileCall> read_profile_call(const Call& call) {
  ProfileCall what;
  const auto steps = call.args.integer("steps", 1, kProfileStepsMax);
  if (!steps) return steps.error();
  const auto ranks = parse_ranks(call.args.text("ranks").value_or("0"));
  if (!ranks) return ranks.error().in("--ranks");
  const auto timeout = call.args.seconds("timeout");
  if (!timeout) return timeout.error();
  what.file = call.args.text("output");
  if (what.file && ranks->size() != 1)
    return fail(Errc::kInvalidArgument, "-o takes the trace of one rank; several were asked for",
                "leave -o out: the paths are printed");
  what.body = {{"steps", steps->value_or(20)}, {"timeout_s", timeout->value_or(kProfileTimeoutS)}};
  what.body["ranks"] = ranks->empty() ? proto::Json("all") : proto::Json(*ranks);
  return what;
}

Result<Done> copy_trace(const std::string& trace, const std::string& file) {
  std::error_code ec;
  if (!std::filesystem::exists(trace, ec))
    return fail(Errc::kIo, "the trace " + trace + " is not on this machine: nothing was copied to " + file,
                "copy it from a machine that has the job's storage_path");
  std::filesystem::copy_file(trace, file, std::filesystem::copy_options::overwrite_existing, ec);
  if (ec) return fail(Errc::kIo, "the trace could not be copied to " + file + ": " + ec.message());
  return ok();
}

Result<int> profile(Call& call) {
  auto what = read_profile_call(call);
  if (!what) return what.error();
  auto client = client_of(call);
  if (!client) return client.error();
  const auto& text = call.args.positionals.front();
  const auto id = find_job(*client, text);
  if (!id) return id.error();
  const auto target = "/v1/jobs/" + std::to_string(*id) + "/profile";
  if (auto asked = client->post(target, what->body); !asked) return asked.error();
  const auto doc = wait_while<proto::ProfileDoc>("recording", *client, target);
  if (!doc) return doc.error();
  int status = 0;
  for (const auto& rank : doc->ranks) {
    const auto name = "rank " + std::to_string(rank.rank);
    if (rank.trace.empty()) {
      call.console.error(fail(Errc::kConflict, name + " gave no trace: " + rank.error));
      status = static_cast<int>(exit_of(Errc::kConflict));
      continue;
    }
    if (rank.steps < doc->steps)
      call.console.note(name + " recorded " + std::to_string(rank.steps) + " of " +
                        std::to_string(doc->steps) + " steps: " + rank.error);
    if (what->file)
      if (auto copied = copy_trace(rank.trace, *what->file); !copied) return copied.error();
    call.console.out(what->file.value_or(rank.trace) + "\n");
  }
  return status;
}

}  // namespace

Verb profile_verb() {
  return {
      .name = "profile",
      .usage = "ID",
      .summary = "record the next steps of a running job",
      .description =
          "The ranks record their next training batches with LibTorch's profiler, without a restart, and "
          "write a Chrome trace each into\n"
          "<storage_path>/<run>/profiles/, which Perfetto, chrome://tracing and TensorBoard open. The paths "
          "are printed. A rank\n"
          "that has not recorded all steps in time writes those that it has. Status 7 when the job does not "
          "run, runs a command or no\n"
          "Trainer::fit(), or is being profiled already.",
      .positionals_min = 1,
      .positionals_max = 1,
      .options = {{"steps", 'n', "N", "training batches to record, 1 to 10000 (default 20)"},
                  {"ranks", 0, "LIST", "of these ranks: 0, 0,2-4 or all (default 0)"},
                  {"timeout", 0, "SECONDS", "for all steps (default 300)"},
                  {"output", 'o', "FILE", "copy the trace of the one rank to this file"}},
      .examples = {{"rtrain profile 42", "20 steps of rank 0"},
                   {"rtrain profile 42 --steps 5 --ranks all", "of every rank"},
                   {"rtrain profile 42 -o trace.json", "and a copy here"}},
      .run = profile};
}

}  // namespace rtrain::cli
