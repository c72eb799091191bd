#include "tests/support/catch.h"
#include "tests/support/training.h"

#include <rtrain/loggers/run_folder.h>

namespace run_folder_test {

using namespace rtrain;
using rtrain::test::Folder;

TEST_CASE("run folder: decided once, after those that are there", "[unit][loggers]") {
  const Folder folder;
  const RunFolder first(folder.path(), "logs", std::nullopt);
  CHECK(first.path() == folder / "logs/version_0");
  CHECK_FALSE(std::filesystem::exists(folder / "logs"));  // nobody asked for it to be made
  std::filesystem::create_directories(folder / "logs/version_7");
  std::filesystem::create_directories(folder / "logs/version_9b");
  CHECK(first.version() == "version_0");
  CHECK(RunFolder(folder.path(), "logs", std::nullopt, "sub").path() == folder / "logs/version_8/sub");
  CHECK(RunFolder(folder.path(), "", "mine").create("test") == folder / "mine");
  CHECK(std::filesystem::is_directory(folder / "mine"));
}

TEST_CASE("run folder: a job's is named by its run", "[unit][loggers]") {
  const Folder folder;
  const auto versions = [&](const std::string& name) {
    nlohmann::json found;
    const auto train = [&](const Config&) {
      found = {RunFolder(folder.path(), "logs", std::nullopt).version(),
               RunFolder(folder.path(), "logs", std::nullopt).version(), get_context().get_trial_name()};
    };
    const auto result =
        TorchTrainer(train, {.num_workers = 0}, {.name = name, .storage_path = (folder / "results").string()})
            .fit();
    CHECK_FALSE(result.error);
    return found;
  };
  const auto found = versions("named");
  CHECK(found[2].get<std::string>().starts_with("named-"));
  CHECK(found[0] == found[2]);
  CHECK(found[1] == found[2].get<std::string>() + "-1");
}

}  // namespace run_folder_test
