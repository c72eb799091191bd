#include "tests/support/catch.h"
#include "tests/support/training.h"

#include <rtrain/loggers.h>

#include <fstream>
#include <limits>

namespace csv_logger_test {

using namespace rtrain;
using rtrain::test::Folder;

namespace {

std::string text_of(const std::filesystem::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("CSVLogger: columns in alphabetical order, and a late one rewrites the table", "[unit][loggers]") {
  const Folder folder;
  CSVLogger logger({.save_dir = folder.path()});
  logger.log_metrics({{"loss", 0.5}, {"epoch", 0}}, 1);
  logger.finalize("success");
  CHECK(text_of(folder / "lightning_logs/version_0/metrics.csv") == "epoch,loss,step\n0,0.5,1\n");
  logger.log_metrics({{"acc,top", 1.0 / 3}, {"epoch", 0}}, 4);
  logger.log_metrics({{"loss", std::numeric_limits<double>::infinity()}}, 5);
  logger.finalize("success");
  CHECK(text_of(logger.log_dir() / "metrics.csv") ==
        "\"acc,top\",epoch,loss,step\n,0,0.5,1\n0.3333333333333333,0,,4\n,,inf,5\n");
}

TEST_CASE("CSVLogger: rows wait until there are enough of them", "[unit][loggers]") {
  const Folder folder;
  CSVLogger logger(
      {.save_dir = folder.path(), .version = "mine", .prefix = "run", .flush_logs_every_n_steps = 2});
  CHECK_FALSE(std::filesystem::exists(folder / "lightning_logs"));
  logger.log_metrics({{"a", 1}}, 0);
  logger.save();
  CHECK_FALSE(std::filesystem::exists(folder / "lightning_logs/mine/metrics.csv"));
  logger.log_metrics({{"a", 2}}, 1);
  logger.save();
  CHECK(text_of(folder / "lightning_logs/mine/metrics.csv") == "run-a,step\n1,0\n2,1\n");
}

TEST_CASE("CSVLogger: a version of its own each time; one that is named is continued", "[unit][loggers]") {
  const Folder folder;
  for (int i = 0; i < 2; ++i) CSVLogger({.save_dir = folder.path()}).log_metrics({{"a", i}}, i);
  CHECK(text_of(folder / "lightning_logs/version_1/metrics.csv") == "a,step\n1,1\n");
  CSVLogger({.save_dir = folder.path(), .version = "version_1"}).log_metrics({{"b", 7}}, 2);
  CHECK(text_of(folder / "lightning_logs/version_1/metrics.csv") == "a,b,step\n1,,1\n,7,2\n");
}

TEST_CASE("CSVLogger: options that cannot be used are told at once", "[unit][loggers]") {
  CHECK_THROWS_WITH(CSVLogger({.flush_logs_every_n_steps = 0}),
                    Catch::Contains("save_dir is empty") && Catch::Contains("flush_logs_every_n_steps is 0"));
}

TEST_CASE("CSVLogger: a run's rows carry the epoch, a metric called step is the x-axis", "[unit][loggers]") {
  struct Logs : test::BoringModel {
    bool own_step = false;
    StepOutput training_step(const Batch& batch, std::int64_t i) override {
      if (own_step) log("step", 100.0 + static_cast<double>(i));
      log("i", static_cast<double>(i));
      return BoringModel::training_step(batch, i);
    }
    torch::Tensor validation_step(const Batch&, std::int64_t i) override {
      log("v", static_cast<double>(i), {.on_step = true, .on_epoch = true});
      return {};
    }
  };
  const Folder folder;
  const auto rows = [&](bool own_step, const DataLoader& val) {
    const auto logger = std::make_shared<CSVLogger>(CSVLoggerOptions{.save_dir = folder.path()});
    Logs model;
    model.own_step = own_step;
    Trainer trainer(test::quiet({.max_epochs = 2, .log_every_n_steps = 2, .loggers = {logger}}));
    trainer.fit(model, test::boring_loader(4), val);
    return text_of(logger->log_dir() / "metrics.csv");
  };
  // As Lightning writes it: golden/csv_logger.txt.
  CHECK(rows(false, test::boring_loader(2)) ==
        "epoch,i,step,v_epoch,v_step\n"
        "0,1,1,,\n0,3,3,,\n,,0,,0\n,,1,,1\n0,,3,0.5,\n"
        "1,1,5,,\n1,3,7,,\n,,2,,0\n,,3,,1\n1,,7,0.5,\n");
  CHECK(rows(true, {}) == "i,step\n1,101\n3,103\n1,101\n3,103\n");
}

}  // namespace csv_logger_test
