#include "cli/resume.h"
#include "cli/parse.h"

#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <filesystem>
#include <fstream>

namespace cli_resume_test {

using namespace rtrain;
using namespace rtrain::cli;
namespace fs = std::filesystem;

namespace {

/// A head that knows job 42 with a checkpoint, array 40, and others without a checkpoint.
Result<Get> a_head() {
  return Get([](const std::string& target) -> Result<proto::Json> {
    if (!target.ends_with("/result")) {
      proto::JobDoc job;
      job.id = JobId(std::stoi(target.substr(target.rfind('/') + 1)));
      if (job.id == JobId(40)) job.array = proto::ArrayTask{job.id, 2, 6, 0, 2, 7, 1};
      return proto::Json(job);
    }
    proto::ResultDoc doc;
    doc.id = JobId(42);
    doc.state = "FAILED";
    if (target == "/v1/jobs/42/result" || target == "/v1/jobs/40_2/result")
      doc.checkpoint = proto::CheckpointRecord{"/runs/x/checkpoint_000003", 3, {}};
    return proto::Json(doc);
  });
}

Result<Get> no_head() { return fail(Errc::kUnavailable, "the head must not be asked"); }

}  // namespace

TEST_CASE("resume: a job means its latest checkpoint, and the head is asked for it") {
  CHECK(checkpoint_of("42", "/", a_head).value() == "/runs/x/checkpoint_000003");
  CHECK(checkpoint_of("40_2", "/", a_head).value() == "/runs/x/checkpoint_000003");
  CHECK_THAT(checkpoint_of("7", "/", a_head).error().message(),
             Catch::Matchers::Contains("job 7 has no complete checkpoint"));
  CHECK(checkpoint_of("40_[1-2]", "/", a_head).error().code() == Errc::kInvalidArgument);
  const auto array = checkpoint_of("40", "/", a_head).error();
  CHECK(array.message() == "--resume 40: 40 is an array of 6 jobs");
  CHECK(array.hint() == "name one: --resume 40_2");
  CHECK(checkpoint_of("42", "/", no_head).error().code() == Errc::kUnavailable);
}

TEST_CASE("resume: a run's folder means its newest complete checkpoint") {
  const test::TempDir folder;
  for (const char* name : {"run/checkpoint_000009", "run/checkpoint_000010", "run/.checkpoint_000011.tmp-1",
                           "run/checkpoint_x", "run/logs"})
    fs::create_directories(folder / name);
  CHECK(checkpoint_of("run", folder.path(), no_head).value() == (folder / "run/checkpoint_000010").string());
  CHECK(checkpoint_of("run/", folder.path(), no_head).value() == (folder / "run/checkpoint_000010").string());
}

TEST_CASE("resume: a checkpoint with a name of its own is the newest if it was reported last") {
  const test::TempDir folder;
  for (const char* name : {"run/checkpoint_000000", "run/best"}) fs::create_directories(folder / name);
  const auto of_run = [&] { return checkpoint_of("run", folder.path(), no_head).value(); };
  std::ofstream rows(folder / "run/metrics.jsonl");
  rows << R"({"checkpoint": "checkpoint_000000"})" << '\n' << R"({"checkpoint": "best"})" << '\n';
  rows << R"({"checkpoint": null})" << '\n' << R"({"checkpoint": "gone"})" << std::endl;
  CHECK(of_run() == (folder / "run/best").string());
  rows << R"({"checkpoint": "checkpoint_000000"})" << std::endl;
  CHECK(of_run() == (folder / "run/checkpoint_000000").string());
}

TEST_CASE("resume: a folder without checkpoints is one itself, and an empty or missing one is refused") {
  const test::TempDir folder;
  fs::create_directories(folder / "run/checkpoint_000003/rank_0");
  fs::create_directories(folder / "empty");
  const auto path = (folder / "run/checkpoint_000003").string();
  CHECK(checkpoint_of(path, "/", no_head).value() == path);
  CHECK(checkpoint_of((folder / "empty").string(), "/", no_head).error().code() == Errc::kNotFound);
  CHECK(checkpoint_of((folder / "none").string(), "/", no_head).error().code() == Errc::kNotFound);
}

TEST_CASE("resume: the way on is a command that a shell takes as it is") {
  proto::ResultDoc result;
  result.id = JobId(42);
  result.state = "FAILED";
  const Origin run{"run", "job.json"};
  CHECK(resume_command(result, "1", run).empty());
  result.checkpoint = proto::CheckpointRecord{"/my runs/x/checkpoint_000003", 3, {}};
  CHECK(resume_command(result, "1", run) == "rtrain run --resume '/my runs/x/checkpoint_000003' job.json");
  CHECK(resume_command(result, "40_2", {}) == "rtrain submit --resume 40_2 JOB.json");
  result.state = "SUCCEEDED";
  CHECK(resume_command(result, "1", run).empty());
}

TEST_CASE("resume: the way on repeats the options that changed the job, in words of a shell") {
  auto command =
      parse_command({"submit", "--set", "name=my trial", "--time", "2h", "--set", "env.X=it's", "--set",
                     "resume_from_checkpoint=/old", "--follow", "--depends-on", "afterok:3", "job.json"});
  REQUIRE(command.has_value());
  const Console console(ColourChoice::kNever, [](const char*) -> const char* { return nullptr; });
  const Call call{*command->verb, std::move(command->args), "table", console, {}};
  proto::ResultDoc result;
  result.state = "CANCELLED";
  result.checkpoint = proto::CheckpointRecord{"/runs/x/checkpoint_000003", 3, {}};
  CHECK(resume_command(result, "42", origin_of(call)) ==
        "rtrain submit --resume 42 --time 2h --set 'name=my trial' --set 'env.X=it'\\''s' job.json");
}

}  // namespace cli_resume_test
