// rtrain validate: everything wrong with a job file, without a head.
#include "cli/job_file.h"

namespace rtrain::cli {

namespace {

Result<int> validate(Call& call) {
  auto job = load_job(call);
  if (!job) return job.error();
  if (call.json()) {
    proto::Json errors = proto::Json::array();
    for (const auto& error : job->errors)
      errors.push_back(
          {{"path", error.path}, {"message", error.message}, {"line", error.line}, {"column", error.column}});
    call.console.out(
        proto::dump_json({{"valid", job->errors.empty()}, {"errors", errors}, {"warnings", job->warnings}}) +
        "\n");
    return static_cast<int>(job->errors.empty() ? Exit::kOk : Exit::kUsage);
  }
  if (!report_errors(*job, call.console)) return static_cast<int>(Exit::kUsage);
  for (const auto& warning : job->warnings) call.console.warn(job->shown + ": " + warning);
  call.console.out(job->shown + ": valid\n");
  return 0;
}

}  // namespace

Verb validate_verb() {
  return {.name = "validate",
          .usage = "JOB.json",
          .summary = "check a job file without submitting it",
          .description =
              "Prints every error at once as FILE:LINE:COLUMN: PATH: MESSAGE to stderr and ends with status "
              "2; needs no head.\n"
              "A library, working directory or checkpoint that is not on this machine is a warning: the "
              "nodes may have it.",
          .positionals_min = 1,
          .positionals_max = 1,
          .outputs = {"table", "json"},
          .needs_head = false,
          .options = scheduling_options({set_option()}),
          .examples = {{"rtrain validate job.json", "check it"},
                       {"rtrain validate --set scaling_config.num_workers=0 job.json",
                        "check it with a field changed"},
                       {"rtrain validate -o json - < job.json", "the errors as JSON"}},
          .run = validate};
}

}  // namespace rtrain::cli
